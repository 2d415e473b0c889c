"""DGCNN: edge convolutions on a graph of neighbors that is searched anew in every layer's features."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.layers.edge_conv import EdgeConv
from smdsb_jax.layers.heads import ClassificationHead
from smdsb_jax.layers.pooled_dense import PooledDense
from smdsb_jax.layers.tnet import EdgeTNet
from smdsb_jax.registry import check_counts
from smdsb_jax.state import Features


class DGCNN(nn.Module):
    """Points -> edge convolutions -> [their outputs side by side] -> dense layer -> max over points.

    In the version of DefRec's code, which the benchmark's methods share (max pooling only).
    [Wang et al., arXiv:1801.07829, Fig. 3; Achituve et al., WACV 2021]
    """

    k: int = 20  # neighbors per point, itself among them
    input_tnet: bool = True  # multiply the points by a learned matrix first
    layers: tuple[int, ...] = (64, 64, 128, 256)  # width of each edge convolution
    embedding: int = 1024  # width of the last layer; T-Net and head scale with it

    @nn.compact
    def __call__(self, points: Float[Array, "batch n 3"], *, train: bool) -> Features:
        """Encode clouds; `train` normalizes by the batch's own statistics and records them."""
        x = points
        if self.input_tnet:
            matrix = EdgeTNet(self.k, self.embedding, name="tnet")(x, train=train)
            x = x @ jnp.swapaxes(matrix, 1, 2)  # the matrix times column vectors
        outputs = []
        for i, width in enumerate(self.layers, start=1):
            x = EdgeConv(width, self.k, name=f"edge{i}")(x, train=train)
            outputs.append(x)
        last = PooledDense(self.embedding, name="agg")
        return Features(last(jnp.concatenate(outputs, axis=-1), train=train), tuple(outputs))

    @nn.nowrap
    def check(self, points: int) -> None:
        """Refuse impossible options, for clouds of so many points.

        Raises:
          ValueError: names the field.
        """
        check_counts("encoder.embedding", self.embedding, 16)  # T-Net and head have layers of a sixteenth
        check_edges(self.k, self.layers, points)

    @nn.nowrap
    def head(self, classes: int, dropout: float) -> nn.Module:
        """The classification head: hidden layers of embedding/2 and embedding/4, leaky ReLU 0.2."""
        hidden = (self.embedding // 2, self.embedding // 4)
        return ClassificationHead(classes, hidden, negative_slope=0.2, dropout=dropout)


def check_edges(k: int, layers: tuple[int, ...], points: int) -> None:
    """Refuse impossible neighbors and widths of edge convolutions, for clouds of so many points.

    Raises:
      ValueError: names the field.
    """
    check_counts("encoder.k", k)
    check_counts("encoder.layers", layers)
    if k > points:
        raise ValueError(
            f"config.encoder.k = {k} neighbors among config.data.points = {points}: lower k or take more "
            "points."
        )
