"""DGCNN as DefRec's code has it for PointSegDA: between its maxima everything is linear."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.encoders.dgcnn import DGCNN
from smdsb_jax.layers.edge_conv import EdgeConv, LinearEdgeConv
from smdsb_jax.layers.edge_pair import EdgeTerms, PooledEdges
from smdsb_jax.layers.pooled_dense import PooledDense
from smdsb_jax.layers.tnet import EdgeTNet
from smdsb_jax.state import Features

NORMS = ("none", "batch")


class DGCNNSegmentation(DGCNN):
    """Points -> edge stages -> [their outputs side by side] -> dense layer -> max over points.

    Every stage but the last has two dense layers of the edges [x_j - x_i, x_i] before its maximum over
    neighbors. As released they have biases, and neither norm nor activation, the layer after the stages too;
    the T-Net has activations and no norms.   [Achituve et al., WACV 2021, its code for PointSegDA]
    """

    layers: tuple[int, ...] = (64, 64, 64)  # width of each edge stage
    # of the stages and the layer after them; batch: BatchNorm and leaky ReLU after every dense layer, which
    # then has no bias, as in the network for parts of shapes of DGCNN (arXiv:1801.07829, Sec. 4.3)
    edge_norm: str = "none"
    tnet_norm: str = "none"  # batch: the T-Net of `dgcnn`

    @nn.compact
    def __call__(self, points: Float[Array, "batch n 3"], *, train: bool) -> Features:
        """Encode clouds; `train` matters to norms only."""
        x = points
        if self.input_tnet:
            tnet = EdgeTNet(self.k, self.embedding, use_norm=self.tnet_norm == "batch", name="tnet")
            x = x @ jnp.swapaxes(tnet(x, train=train), 1, 2)  # the matrix times column vectors
        outputs = []
        for i, width in enumerate(self.layers, start=1):
            x = self._stage(x, i, width, train)
            outputs.append(x)
        if self.edge_norm == "batch":
            last = PooledDense(self.embedding, name="agg")
        else:
            last = PooledDense(self.embedding, negative_slope=1.0, use_bias=True, use_norm=False, name="agg")
        return Features(last(jnp.concatenate(outputs, axis=-1), train=train), tuple(outputs))

    def _stage(
        self, x: Float[Array, "batch n c"], i: int, width: int, train: bool
    ) -> Float[Array, "batch n d"]:
        is_last = i == len(self.layers)
        if self.edge_norm == "none":
            return LinearEdgeConv(width, self.k, depth=1 if is_last else 2, name=f"edge{i}")(x)
        if is_last:
            return EdgeConv(width, self.k, name=f"edge{i}")(x, train=train)
        edges = EdgeTerms(width, self.k, name=f"edge{i}")(x, train=train)
        return PooledEdges(width, name=f"pooled{i}")(edges, train=train)

    @nn.nowrap
    def check(self, points: int) -> None:
        """Refuse impossible options, for clouds of so many points.

        Raises:
          ValueError: names the field.
        """
        super().check(points)
        for field, norm in (("edge_norm", self.edge_norm), ("tnet_norm", self.tnet_norm)):
            if norm not in NORMS:
                raise ValueError(f"config.encoder.{field} = {norm!r}: one of 'none', 'batch'.")
