"""Encoders: Linen modules, points [batch, n, 3] -> Features. A field with a default is a config option.

An encoder is called as `encoder(points, train=...)` and gives `encoder.head(classes, dropout)`, the
classification head it was published with. `encoder.check(points)`, if it has one, refuses impossible options.
"""

from smdsb_jax.encoders.dgcnn import DGCNN
from smdsb_jax.encoders.dgcnn_gast import DGCNNGAST
from smdsb_jax.encoders.dgcnn_segmentation import DGCNNSegmentation
from smdsb_jax.encoders.node_pointnet import NodePointNet
from smdsb_jax.encoders.pointnet import PointNet

ENCODERS = {
    "dgcnn": DGCNN,  # dynamic graph of neighbors: the benchmark's encoder
    "dgcnn_gast": DGCNNGAST,  # maxima and means, a normalized head: GAST's, for its weights
    "dgcnn_segmentation": DGCNNSegmentation,  # linear between its maxima: PointSegDA's
    "pointnet": PointNet,  # every point by itself: several times faster
    "node_pointnet": NodePointNet,  # with nodes that move: PointDAN's
}
