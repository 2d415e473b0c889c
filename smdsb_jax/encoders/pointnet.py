"""PointNet: the same dense layers on every point, and a maximum over points."""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from smdsb_jax.layers.basic import DenseBlock
from smdsb_jax.layers.heads import ClassificationHead
from smdsb_jax.layers.pooled_dense import PooledDense
from smdsb_jax.layers.tnet import PointTNet
from smdsb_jax.registry import check_counts, check_range
from smdsb_jax.state import Features


class PointNet(nn.Module):
    """Points -> T-Net -> two dense layers -> T-Net -> dense layers -> max over points; ReLU.

    In the version of DefRec's code.   [Qi et al., arXiv:1612.00593, Fig. 2; Achituve et al., WACV 2021]
    """

    input_tnet: bool = True  # multiply the points by a learned matrix first
    feature_tnet: bool = True  # multiply the second layer's features by a learned matrix
    layers: tuple[int, ...] = (64, 64, 64, 128)  # width of each per-point layer before the last
    embedding: int = 1024  # width of the last layer; T-Nets and head scale with it
    # Self-distillation's [Cardace et al., WACV 2023] has 0.01 and a bias
    negative_slope: float = 0.0  # of the dense layers after a maximum, in T-Nets and head
    head_bias: bool = False  # in the head's first layer

    @nn.compact
    def __call__(self, points: Float[Array, "batch n 3"], *, train: bool) -> Features:
        """Encode clouds; `train` normalizes by the batch's own statistics and records them."""
        tnet = functools.partial(PointTNet, self.embedding, self.negative_slope)
        x = points
        if self.input_tnet:
            x = x @ tnet(name="tnet1")(x, train=train)  # row vectors times the matrix
        outputs = []
        for i, width in enumerate(self.layers, start=1):
            x = DenseBlock(width, negative_slope=0.0, use_bias=True, name=f"conv{i}")(x, train=train)
            outputs.append(x)
            if i == 2 and self.feature_tnet:
                x = x @ tnet(name="tnet2")(x, train=train)
        last = PooledDense(self.embedding, negative_slope=0.0, use_bias=True, name="agg")
        return Features(last(x, train=train), tuple(outputs))

    @nn.nowrap
    def check(self, points: int) -> None:
        """Refuse impossible options; any number of points will do.

        Raises:
          ValueError: names the field.
        """
        del points
        check_counts("encoder.layers", self.layers)
        check_counts("encoder.embedding", self.embedding, 16)  # T-Nets and head have layers of a sixteenth
        check_range("encoder.negative_slope", self.negative_slope, 0, 1)

    @nn.nowrap
    def head(self, classes: int, dropout: float) -> nn.Module:
        """The classification head: hidden layers of embedding/2 (with `head_bias`) and embedding/4."""
        hidden = (self.embedding // 2, self.embedding // 4)
        return ClassificationHead(
            classes, hidden, self.negative_slope, hidden_bias=(self.head_bias, True), dropout=dropout
        )
