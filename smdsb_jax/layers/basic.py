"""Dense and BatchNorm layers that start and behave as PyTorch's, so that published weights fit."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's start of every Dense and convolution kernel
torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def leaky_relu(x: Float[Array, "*axes"], slope: float) -> Float[Array, "*axes"]:
    """`x` where x > 0, else slope * x; its derivative at 0 is the slope, as in PyTorch. Slope 0: ReLU."""
    return jnp.where(x > 0, x, slope * x)


def product(x: Float[Array, "*axes c"], kernel: Float[Array, "c d"]) -> Float[Array, "*axes d"]:
    """`x @ kernel`, with the rows in one axis: the kernel's gradient is then one plain matrix product.

    (With two axes to contract, XLA transposes the large array first: 2 to 3 times slower on a CPU.)
    """
    rows = jnp.reshape(x, (-1, x.shape[-1])) @ kernel
    return jnp.reshape(rows, (*x.shape[:-1], kernel.shape[-1]))


class Dense(nn.Module):
    """`x @ kernel + bias`, both U(+-1/sqrt(fan_in)) at the start, fan_in being the kernel's."""

    features: int
    use_bias: bool = True

    @nn.compact
    def weights(self, fan_in: int) -> tuple[Float[Array, "c d"], Float[Array, " d"] | None]:
        """Kernel and bias for inputs of `fan_in` channels."""
        kernel = self.param("kernel", torch_uniform, (fan_in, self.features))
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", lambda key: torch_uniform(key, (fan_in, self.features))[0])

    def __call__(self, x: Float[Array, "*axes c"]) -> Float[Array, "*axes d"]:
        """Apply to the last axis."""
        kernel, bias = self.weights(x.shape[-1])
        y = product(x, kernel)
        return y if bias is None else y + _like(bias, y)


class Moments(NamedTuple):
    """Per-channel mean and biased variance of `count` values."""

    mean: Float[Array, " c"]
    var: Float[Array, " c"]
    count: int


def moments(x: Float[Array, "*axes c"]) -> Moments:
    """Moments over all axes except channels; over the whole batch also where `jit` has divided it."""
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes)
    var = jnp.mean((x - _like(mean, x)) ** 2, axes)
    return Moments(mean, var, x.size // x.shape[-1])


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(var + epsilon) * scale + bias, per channel   [arXiv:1502.03167, Alg. 1 and 2].

    With PyTorch's conventions: in training the batch's biased variance normalizes, and the running
    statistics (collection `batch_stats`) take `momentum` of the batch's mean and *unbiased* variance;
    otherwise the running statistics normalize. They have derivatives, which a training step does not ask for.
    """

    features: int
    momentum: float = 0.1  # weight of the new statistic
    epsilon: float = 1e-5

    def setup(self) -> None:
        """Declare the parameters and the running statistics."""
        shape = (self.features,)
        self.scale = self.param("scale", nn.initializers.ones, shape)
        self.bias = self.param("bias", nn.initializers.zeros, shape)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        self.var = self.variable("batch_stats", "var", jnp.ones, shape)

    def direction(self) -> Float[Array, " c"]:
        """Per channel 1 where the layer does not decrease, -1 where it does."""
        return jnp.where(self.scale < 0, -1, 1).astype(self.scale.dtype)

    def __call__(
        self, x: Float[Array, "*axes c"], *, train: bool, batch: Moments | None = None
    ) -> Float[Array, "*axes c"]:
        """Normalize x; `batch` replaces its own moments where x is a selection from a larger batch."""
        batch = moments(x) if train and batch is None else batch
        return self._normalized(x, *self._center_and_multiplier(train, batch))

    def of_terms(
        self,
        a: Float[Array, "*axes c"],
        b: Float[Array, "*axes c"],
        *,
        train: bool,
        batch: Moments | None,
    ) -> tuple[Float[Array, "*axes c"], Float[Array, "*axes c"]]:
        """The terms whose sums are the normalized sums of terms of a and b; `batch`: moments of the sums."""
        mean, multiplier = self._center_and_multiplier(train, batch)
        return self._normalized(a, mean, multiplier), b * _like(multiplier, b)

    def _center_and_multiplier(self, train: bool, batch: Moments | None) -> tuple[Array, Array]:
        mean, var = self.mean.value, self.var.value
        if train:
            assert batch is not None
            mean, var = batch.mean, batch.var
            if not self.is_initializing():
                self._update(batch)
        return mean, jax.lax.rsqrt(var + self.epsilon) * self.scale

    def _normalized(self, x: Array, mean: Array, multiplier: Array) -> Array:
        return (x - _like(mean, x)) * _like(multiplier, x) + _like(self.bias, x)

    def _update(self, batch: Moments) -> None:
        old = 1 - self.momentum
        unbiased = batch.var * (batch.count / max(batch.count - 1, 1))
        self.mean.value = old * self.mean.value + self.momentum * batch.mean
        self.var.value = old * self.var.value + self.momentum * unbiased


class DenseBlock(nn.Module):
    """Dense, BatchNorm, leaky ReLU."""

    features: int
    negative_slope: float = 0.2
    use_bias: bool = False
    use_norm: bool = True  # False: without BatchNorm

    @nn.compact
    def __call__(self, x: Float[Array, "*axes c"], *, train: bool) -> Float[Array, "*axes d"]:
        """Apply to the last axis."""
        y = Dense(self.features, self.use_bias, name="dense")(x)
        if self.use_norm:
            y = BatchNorm(self.features, name="norm")(y, train=train)
        return leaky_relu(y, self.negative_slope)


class Dropout(nn.Module):
    """Zero a share of the elements and divide the others by what is kept, in training only."""

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "*axes c"], *, train: bool) -> Float[Array, "*axes c"]:
        """Draw from the key collection `dropout`."""
        if not train or self.rate == 0:
            return x
        key = self.make_rng("dropout")
        keep = (
            random_bits(key, x.shape)
            if self.rate == 0.5
            else jax.random.bernoulli(key, 1 - self.rate, x.shape)
        )
        return jnp.where(keep, x / (1 - self.rate), 0)


def random_bits(key: jax.Array, shape: tuple[int, ...]) -> Bool[Array, "*axes"]:
    """Fair coins, 32 from each random word: 20 times faster than a number per coin."""
    words = -(-shape[-1] // 32)
    drawn = jax.random.bits(key, (*shape[:-1], words, 1), jnp.uint32)
    bits = (drawn >> jnp.expand_dims(jnp.arange(32, dtype=jnp.uint32), range(len(shape)))) & 1
    return jnp.reshape(bits, (*shape[:-1], 32 * words))[..., : shape[-1]] == 1


def _like(channels: Array, x: Array) -> Array:
    """Lift [c] to the rank of x."""
    return jnp.expand_dims(channels, range(x.ndim - 1))
