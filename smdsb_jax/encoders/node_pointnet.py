"""PointNet with a layer of nodes: PointDAN's generator."""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from smdsb_jax.layers.basic import BatchNorm, DenseBlock
from smdsb_jax.layers.heads import ClassificationHead
from smdsb_jax.layers.nodes import AdaptiveNodes
from smdsb_jax.layers.pooled_dense import PooledDense
from smdsb_jax.layers.tnet import PointTNet
from smdsb_jax.registry import check_counts, check_range
from smdsb_jax.state import Features

ORDERS = ("index", "nearest")


class NodePointNet(nn.Module):
    """PointNet whose second layer's features go through moving nodes; a BatchNorm after the maximum.

    In training and in inference alike the nodes are where the cloud has them. The release makes one more
    dense block in the layer of nodes, of 4,288 parameters, which no pass uses: it is left out here.
    [PointDAN, Qin et al., arXiv:1911.02744, the generator of its release]
    """

    input_tnet: bool = True  # multiply the points by a learned matrix first
    feature_tnet: bool = True  # multiply the second layer's features by a learned matrix
    layers: tuple[int, ...] = (64, 64, 128)  # width of each per-point layer before the last
    embedding: int = 1024  # width of the last layer; T-Nets scale with it
    nodes: int = 64  # of a cloud
    members: int = 64  # points of a node
    radius: float = 0.3  # of the ball about a node's seed whose members decide where it moves
    # its members where there are too many: those of the lowest index, as released, or the nearest ones, with
    # which predictions do not depend on the order of a cloud's points
    order: str = "index"

    @nn.compact
    def __call__(self, points: Float[Array, "batch n 3"], *, train: bool) -> Features:
        """Encode clouds; `train` normalizes by the batch's own statistics and records them."""
        tnet = functools.partial(PointTNet, self.embedding, negative_slope=0.01)
        x, outputs, nodes = points, [], None
        if self.input_tnet:
            x = x @ tnet(name="tnet1")(x, train=train)  # row vectors times the matrix
        for i, width in enumerate(self.layers, start=1):
            x = DenseBlock(width, negative_slope=0.0, use_bias=True, name=f"conv{i}")(x, train=train)
            outputs.append(x)
            if i == 2:
                x = x @ tnet(name="tnet2")(x, train=train) if self.feature_tnet else x
                layer = AdaptiveNodes(self.nodes, self.members, self.radius, self.order, name="nodes")
                x, nodes = layer(x, points, train=train)
        last = PooledDense(self.embedding, negative_slope=0.0, use_bias=True, name="agg")
        embedding = BatchNorm(self.embedding, name="norm")(last(x, train=train), train=train)
        return Features(embedding, tuple(outputs), nodes)

    @nn.nowrap
    def check(self, points: int) -> None:
        """Refuse impossible options, for clouds of so many points.

        Raises:
          ValueError: names the field.
        """
        check_counts("encoder.layers", self.layers)
        if len(self.layers) < 2:
            raise ValueError(
                f"config.encoder.layers = {self.layers}: two or more, since nodes follow the second."
            )
        check_counts("encoder.embedding", self.embedding, 16)  # T-Nets have layers of a sixteenth
        check_range("encoder.nodes", self.nodes, 1, points)
        check_range("encoder.members", self.members, 1, points)
        check_range("encoder.radius", self.radius, 0, 2)
        if self.order not in ORDERS:
            raise ValueError(f"config.encoder.order = {self.order!r}: one of 'index', 'nearest'.")

    @nn.nowrap
    def head(self, classes: int, dropout: float) -> nn.Module:
        """The classification head: one dense layer, without dropout."""
        return ClassificationHead(classes, (), hidden_bias=(), dropout=dropout)
