"""DGCNN as GAST's code has it: no T-Net, an embedding of maximum and mean, a head of rows of length 1."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.encoders.dgcnn import check_edges
from smdsb_jax.layers.basic import DenseBlock
from smdsb_jax.layers.edge_conv import EdgeConv, LayerNormEdgeConv
from smdsb_jax.layers.heads import UnitRowHead
from smdsb_jax.registry import check_counts
from smdsb_jax.state import Features

NORMS = ("batch", "layer_released")


class DGCNNGAST(nn.Module):
    """Points -> edge convolutions -> [their outputs side by side] -> dense layer -> [max, mean] over points.

    `norm=layer_released` is that of the release, for its weights: LayerNorm of each cloud over channels,
    points and neighbors, with a scale and a shift for every channel of every point's every neighbor, 21
    million parameters. It needs clouds of `points` points and depends on their order, as no function of a set
    does; and every edge's values exist at a time, [batch, n, k, width]. The T-Net that the release holds and
    never calls is left out.   [Zou et al., ICCV 2021, its code; DGCNN, arXiv:1801.07829]
    """

    k: int = 20  # neighbors per point, itself among them
    layers: tuple[int, ...] = (64, 64, 128, 256)  # width of each edge convolution
    embedding: int = 1024  # maxima and as many means; the head scales with it
    norm: str = "batch"  # of the edge convolutions; layer_released: see above
    points: int = 1024  # of a cloud, to which layer_released is fixed; batch takes any number

    @nn.compact
    def __call__(self, points: Float[Array, "batch n 3"], *, train: bool) -> Features:
        """Encode clouds; `train` lets BatchNorm normalize by the batch's own statistics and record them.

        Raises:
          ValueError: another number of points than `layer_released` has parameters for.
        """
        self._check_points(points.shape[1])
        x, outputs = points, []
        for i, width in enumerate(self.layers, start=1):
            if self.norm == "layer_released":
                x = LayerNormEdgeConv(width, self.k, name=f"edge{i}")(x)
            else:
                x = EdgeConv(width, self.k, name=f"edge{i}")(x, train=train)
            outputs.append(x)
        last = DenseBlock(self.embedding // 2, name="agg")(jnp.concatenate(outputs, axis=-1), train=train)
        embedding = jnp.concatenate([jnp.max(last, axis=1), jnp.mean(last, axis=1)], axis=-1)
        return Features(embedding, tuple(outputs))

    @nn.nowrap
    def check(self, points: int) -> None:
        """Refuse impossible options, for clouds of so many points.

        Raises:
          ValueError: names the field.
        """
        check_counts("encoder.embedding", self.embedding, 16)
        if self.embedding % 2:
            raise ValueError(f"config.encoder.embedding = {self.embedding}: even, for maxima and means.")
        if self.norm not in NORMS:
            raise ValueError(f"config.encoder.norm = {self.norm!r}: one of 'batch', 'layer_released'.")
        self._check_points(points)
        check_edges(self.k, self.layers, points)

    @nn.nowrap
    def _check_points(self, points: int) -> None:
        if self.norm == "layer_released" and points != self.points:
            raise ValueError(
                "config.encoder.norm = 'layer_released' has parameters for clouds of "
                f"config.encoder.points = {self.points} points, these have {points}: set config.data.points "
                "to the same, or take config.encoder.norm=batch."
            )

    @nn.nowrap
    def head(self, classes: int, dropout: float) -> nn.Module:
        """The classification head: hidden layers of embedding/2 and embedding/4, of rows of length 1."""
        return UnitRowHead(classes, (self.embedding // 2, self.embedding // 4), dropout)
