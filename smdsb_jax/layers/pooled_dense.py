"""A dense layer whose maximum over points is all that follows, without its [batch, n, d] output.

The norm's statistics follow from the Gram matrix of the inputs, and the maximum's gradient touches one
point per cloud and channel: the backward pass multiplies by a [c, c] matrix instead of two [c, d] ones.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.geometry.per_sample import Kernel, linear, per_sample
from smdsb_jax.layers.basic import BatchNorm, Dense, Moments, leaky_relu


class PooledDense(nn.Module):
    """max over points of LeakyReLU(BN(x W + b)); the parameters are those of a `DenseBlock`.

    Norm and activation are monotone per channel, so the maximum is taken before them (of -x W where the
    norm's scale is negative).
    """

    features: int
    negative_slope: float = 0.2  # 1: no activation
    use_bias: bool = False
    use_norm: bool = True  # False: without BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "batch n c"], *, train: bool) -> Float[Array, "batch d"]:
        """Apply and pool; `train` normalizes by the batch's own statistics and records them."""
        kernel, bias = Dense(self.features, self.use_bias, name="dense").weights(x.shape[-1])
        if not self.use_norm:
            largest = jax.vmap(max_of_product, in_axes=(0, None))(x, kernel.T)
            return leaky_relu(largest if bias is None else largest + bias[None, :], self.negative_slope)
        norm = BatchNorm(self.features, name="norm")
        direction = norm.direction()
        columns = direction[:, None] * kernel.T
        largest = direction[None, :] * jax.vmap(max_of_product, in_axes=(0, None))(x, columns)
        batch = product_moments(x, kernel) if train else None
        if bias is not None:
            largest = largest + bias[None, :]
            batch = batch and batch._replace(mean=batch.mean + bias)
        return leaky_relu(norm(largest, train=train, batch=batch), self.negative_slope)


def product_moments(x: Float[Array, "batch n c"], kernel: Float[Array, "c d"]) -> Moments:
    """Moments of x W over samples and points: mean(x) W and, per channel, w' G w, G the covariance of x."""
    rows = jnp.reshape(x, (-1, x.shape[-1]))
    mean = jnp.mean(rows, axis=0)
    covariance = gram(rows - mean[None, :]) / len(rows)
    return Moments(mean @ kernel, jnp.maximum(jnp.sum(kernel * (covariance @ kernel), axis=0), 0), len(rows))


@jax.custom_jvp
def gram(u: Float[Array, "m c"]) -> Float[Array, "c c"]:
    """Inner products u' u, for quadratic forms w' (u' u) w only: the derivative lacks an antisymmetric part.

    That saves one of two equal products in the backward pass.
    """
    return u.T @ u


@gram.defjvp
def _gram_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (u,), (du,) = primals, tangents
    return gram(u), 2 * u.T @ du


@jax.custom_jvp
def max_of_product(x: Float[Array, "n c"], columns: Float[Array, "d c"]) -> Float[Array, " d"]:
    """Per column w of the kernel the maximum of w'x over points; its gradient goes to the first of equals."""
    return max_over_points(x, columns)[0]


@max_of_product.defjvp
def _max_of_product_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, columns), (dx, d_columns) = primals, tangents
    largest, winner = max_over_points(x, columns)
    of_points = linear(winning_products, _to_points(x.shape[0]))
    of_columns = linear(_products_of_columns, to_columns)
    return largest, of_points(dx, columns, winner) + of_columns(d_columns, x, winner)


@per_sample
def max_over_points(x: Array, columns: Array) -> tuple[Array, Array]:
    """Kernel: maximum and who has it."""
    y = x @ columns.T
    largest = jnp.max(y, axis=0)
    # NaN equals nothing: n - 1 keeps the index inside the array
    winner = jnp.where(y == largest[None, :], jnp.arange(len(x))[:, None], len(x) - 1)
    return largest, jnp.min(winner, axis=0)


# The three faces of sum_jc g_j x[winner_j, c] w_jc: as a function of x or w, and its gradients by both.
@per_sample
def winning_products(x: Array, columns: Array, winner: Array) -> Array:
    """Kernel: [j] is x[winner[j]]' w_j."""
    return jnp.sum(_rows(x, winner) * columns, axis=-1)


def _products_of_columns(columns: Array, x: Array, winner: Array) -> Array:
    return winning_products(x, columns, winner)


@per_sample
def to_columns(gradient: Array, x: Array, winner: Array) -> Array:
    """Kernel: row [j] is g_j x[winner[j]]."""
    return gradient[:, None] * _rows(x, winner)


def _to_points(n: int) -> Kernel:
    @per_sample
    def to_points(gradient: Array, columns: Array, winner: Array) -> Array:
        """Kernel: add g_j w_j to row winner[j]."""
        empty = jnp.zeros((n, columns.shape[1]), columns.dtype)
        return empty.at[winner].add(gradient[:, None] * columns, mode="promise_in_bounds")

    return to_points


def _rows(x: Array, winner: Array) -> Array:
    return x.at[winner].get(mode="promise_in_bounds")
