"""T-Nets: small networks that see a cloud and return a matrix to multiply its points by."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.layers.basic import Dense, DenseBlock
from smdsb_jax.layers.edge_pair import EdgeTerms, PooledEdges
from smdsb_jax.layers.pooled_dense import PooledDense


class PointTNet(nn.Module):
    """Matrix [c, c] from per-point layers (width/16, width/8, width), max over points, then dense layers.

    [PointNet, arXiv:1612.00593, Sec. 4.2; widths and biases of DefRec's code]
    """

    width: int = 1024
    negative_slope: float = 0.0  # of the dense layers after the maximum; PointDAN: 0.01

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch c c"]:
        """A matrix for each cloud."""
        block = functools.partial(DenseBlock, use_bias=True)
        h = block(self.width // 16, 0.0, name="conv1")(x, train=train)
        h = block(self.width // 8, 0.0, name="conv2")(h, train=train)
        h = PooledDense(self.width, negative_slope=0.0, use_bias=True, name="conv3")(h, train=train)
        h = block(self.width // 2, self.negative_slope, name="fc1")(h, train=train)
        h = block(self.width // 4, self.negative_slope, name="fc2")(h, train=train)
        return _matrix(Dense(x.shape[-1] ** 2, name="out")(h), x.shape[-1])


class EdgeTNet(nn.Module):
    """Matrix [c, c] whose first two layers (width/16, width/8) see every edge [x_j - x_i, x_i].

    [DGCNN, arXiv:1801.07829, Sec. 3.1; widths of DefRec's code]
    """

    k: int = 20
    width: int = 1024
    use_norm: bool = True  # False, as DefRec's code has it for PointSegDA: `fc1` has a bias instead

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch c c"]:
        """A matrix for each cloud."""
        use_norm = self.use_norm
        block = functools.partial(DenseBlock, use_norm=use_norm)
        edges = EdgeTerms(self.width // 16, self.k, use_norm, name="conv1")(x, train=train)
        h = PooledEdges(self.width // 8, use_norm, name="conv2")(edges, train=train)
        h = PooledDense(self.width, use_norm=use_norm, name="conv3")(h, train=train)
        h = block(self.width // 2, use_bias=not use_norm, name="fc1")(h, train=train)
        h = block(self.width // 4, use_bias=True, name="fc2")(h, train=train)
        return _matrix(Dense(x.shape[-1] ** 2, name="out")(h), x.shape[-1])


def _matrix(entries: Float[Array, "batch cc"], c: int) -> Float[Array, "batch c c"]:
    """Entries row by row, plus the identity."""
    return entries.reshape(-1, c, c) + jnp.eye(c, dtype=entries.dtype)[None, :, :]
