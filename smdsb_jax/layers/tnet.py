"""T-Nets: small networks that see a cloud and return a matrix to multiply its points by."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.geometry.neighbors import knn
from smdsb_jax.layers.basic import BatchNorm, Dense, DenseBlock, leaky_relu, product, torch_uniform
from smdsb_jax.layers.edge_conv import edge_factors, neighbor_rows
from smdsb_jax.layers.pooled_dense import PooledDense

# Of larger clouds, in inference, the edges of so many points exist at a time.
EDGES_OF = 4096


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

    The first is linear in x_i and x_j and is computed per point; the second follows a non-linearity, so
    [batch, n, k, width/8] exists (in inference, of EDGES_OF points).   [DGCNN, arXiv:1801.07829, Sec. 3.1;
    widths of DefRec's code]
    """

    k: int = 20
    width: int = 1024
    use_norm: bool = True  # False, as DefRec's code has it for PointSegDA: `fc1` has a bias instead

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch c c"]:
        """A matrix for each cloud."""
        use_norm = self.use_norm
        block = functools.partial(DenseBlock, use_norm=use_norm)
        if train or self.is_initializing() or x.shape[1] <= EDGES_OF:
            h = EdgeBlock(self.width // 16, self.k, use_norm, name="conv1")(x, train=train)
            h = block(self.width // 8, pool=True, name="conv2")(h, train=train)
        else:
            h = self._in_blocks(x)
        h = PooledDense(self.width, use_norm=use_norm, name="conv3")(h, train=train)
        h = block(self.width // 2, use_bias=not use_norm, name="fc1")(h, train=train)
        h = block(self.width // 4, use_bias=True, name="fc2")(h, train=train)
        return _matrix(Dense(x.shape[-1] ** 2, name="out")(h), x.shape[-1])

    def _in_blocks(self, x: Float[Array, "batch n c"]) -> Float[Array, "batch n d"]:
        """The first two layers in inference, EDGES_OF points after the other."""
        first = EdgeBlock(self.width // 16, self.k, self.use_norm, parent=None)
        second = DenseBlock(self.width // 8, pool=True, use_norm=self.use_norm, parent=None)
        own = [
            {kind: layers[name] for kind, layers in self.variables.items() if name in layers}
            for name in ("conv1", "conv2")
        ]

        def of_points(given: tuple[Array, Array]) -> Array:  # one of each cloud
            point, neighbors = given
            near = jax.vmap(lambda cloud, rows: cloud[rows])(x, neighbors)
            edges = first.apply(own[0], point[:, None], train=False, near=near[:, None])
            pooled: Any = second.apply(own[1], edges, train=False)
            return pooled[:, 0]

        neighbors = jax.vmap(functools.partial(knn, k=self.k))(x)
        rows = jnp.swapaxes(x, 0, 1), jnp.swapaxes(neighbors, 0, 1)
        return jnp.swapaxes(jax.lax.map(of_points, rows, batch_size=EDGES_OF), 0, 1)


class EdgeBlock(nn.Module):
    """LeakyReLU(BN(W [x_j - x_i, x_i])) of every edge, with the parameters of an `EdgeConv`."""

    features: int
    k: int = 20
    use_norm: bool = True  # False: without BatchNorm

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch n c"], *, train: bool, near: Float[Array, "batch n k c"] | None = None
    ) -> Float[Array, "batch n k d"]:
        """All edges' values; `near`: the points' neighbors, where they are known, as of a part of a cloud."""
        kernel = self.param("kernel", torch_uniform, (2 * x.shape[-1], self.features))
        of_center, of_neighbor = edge_factors(kernel)
        if near is None:
            neighbors = jax.vmap(functools.partial(knn, k=self.k))(x)
            ends = jax.vmap(neighbor_rows)(product(x, of_neighbor), neighbors)
        else:
            ends = product(near, of_neighbor)
        y = product(x, of_center)[:, :, None, :] + ends
        if self.use_norm:
            y = BatchNorm(self.features, name="norm")(y, train=train)
        return leaky_relu(y, 0.2)


def _matrix(entries: Float[Array, "batch cc"], c: int) -> Float[Array, "batch c c"]:
    """Entries row by row, plus the identity."""
    return entries.reshape(-1, c, c) + jnp.eye(c, dtype=entries.dtype)[None, :, :]
