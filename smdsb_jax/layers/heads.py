"""Heads: what follows an encoder. Dropout draws from the key collection `dropout`, in training only."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from smdsb_jax.layers.basic import BatchNorm, Dense, DenseBlock, Dropout, leaky_relu, product, torch_uniform
from smdsb_jax.state import Features


class ClassificationHead(nn.Module):
    """Embedding -> hidden layers, each with BatchNorm, leaky ReLU and dropout -> logits."""

    classes: int
    hidden: tuple[int, ...] = (512, 256)
    negative_slope: float = 0.2
    hidden_bias: tuple[bool, ...] = (True, True)
    dropout: float = 0.5

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Float[Array, "batch classes"]:
        """Classify; `train` turns dropout on and normalizes by the batch's own statistics."""
        h = features.embedding
        for i, (width, bias) in enumerate(zip(self.hidden, self.hidden_bias, strict=True), start=1):
            h = DenseBlock(width, self.negative_slope, bias, name=f"fc{i}")(h, train=train)
            h = Dropout(self.dropout)(h, train=train)
        return Dense(self.classes, name="out")(h)


class UnitRowHead(nn.Module):
    """Embedding -> hidden layers, each of rows scaled to length 1, with dropout -> logits.

    The embedding's length does not matter.   [as GAST's code has it, Zou et al., ICCV 2021]
    """

    classes: int
    hidden: tuple[int, ...] = (512, 256)
    dropout: float = 0.5

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Float[Array, "batch classes"]:
        """Classify; `train` turns dropout on."""
        h = features.embedding
        for i, width in enumerate(self.hidden, start=1):
            h = UnitRowBlock(width, name=f"fc{i}")(h)
            h = Dropout(self.dropout)(h, train=train)
        return Dense(self.classes, name="out")(h)


class UnitRowBlock(nn.Module):
    """LeakyReLU(LN(W x / |x| + b)), LN over a row's features   [LayerNorm, arXiv:1607.06450]."""

    features: int
    negative_slope: float = 0.2

    @nn.compact
    def __call__(self, x: Float[Array, "batch c"]) -> Float[Array, "batch d"]:
        """Apply to every row."""
        y = Dense(self.features, name="dense")(unit_rows(x))
        norm = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name="norm")
        return leaky_relu(norm(y), self.negative_slope)


def unit_rows(x: Float[Array, "batch c"]) -> Float[Array, "batch c"]:
    """Rows x / |x|. A row of zeros, which has no direction, stays what it is, and so does its gradient.

    The largest entry is divided out first, so that no square of a finite row is too large or too small.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    scaled = x / jnp.where(largest > 0, largest, 1)
    squared = jnp.sum(scaled**2, axis=-1, keepdims=True)
    return scaled / jnp.sqrt(jnp.where(squared > 0, squared, 1))


class PointwiseHead(nn.Module):
    """Per-point features and the embedding -> a vector per point, as a rebuilt point or logits; ReLU.

    [Achituve et al., WACV 2021, arXiv:2003.12641; dropout after all but the last hidden layer]
    """

    outputs: int = 3
    dropout: float = 0.5
    use_bias: bool = False  # in every layer, as released for PointSegDA

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Float[Array, "batch n outputs"]:
        """Map every point; `train` turns dropout on and normalizes by the batch's own statistics."""
        embedding = features.embedding.shape[-1]
        # 256, 256 and 128 after an embedding of 1024; narrow after a narrow one
        h = _first_layer(self, features, embedding // 4, self.use_bias, train=train)
        for i, width in enumerate((embedding // 4, embedding // 8), start=2):
            h = Dropout(self.dropout)(h, train=train)
            h = DenseBlock(width, 0.0, self.use_bias, name=f"conv{i}")(h, train=train)
        return Dense(self.outputs, self.use_bias, name="out")(h)


class CountHead(nn.Module):
    """Per-point features and the embedding -> logits of the bins of a count, for every point.

    Wider than `PointwiseHead`; after the first layer biases and leaky ReLU; dropout after all hidden layers.
    [MLSP; Liang et al., ECCV 2022]
    """

    bins: int
    dropout: float = 0.5

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Float[Array, "batch n bins"]:
        """Map every point; `train` turns dropout on and normalizes by the batch's own statistics."""
        embedding = features.embedding.shape[-1]  # 512, 256 and 256 after an embedding of 1024
        h = _first_layer(self, features, embedding // 2, train=train)
        h = Dropout(self.dropout)(h, train=train)
        for i in (2, 3):
            h = DenseBlock(embedding // 4, use_bias=True, name=f"conv{i}")(h, train=train)
            h = Dropout(self.dropout)(h, train=train)
        return Dense(self.bins, name="out")(h)


class StructureHeads(nn.Module):
    """What is told of every point of a cloud, each by a head of its own; MLSP's."""

    names: tuple[str, ...]  # of what is told: position, normal, cardinality
    bins: int  # of the cardinality
    dropout: float = 0.5
    position_bias: bool = False  # in the head of positions; that of normals has none

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> dict[str, Float[Array, "batch n _"]]:
        """Positions [3], normals [3], of any length, and logits [bins], so far as they are named."""
        told = {}
        for name in self.names:
            if name == "cardinality":
                told[name] = CountHead(self.bins, self.dropout, name=name)(features, train=train)
            else:
                use_bias = self.position_bias and name == "position"
                told[name] = PointwiseHead(3, self.dropout, use_bias, name=name)(features, train=train)
        return told


def _first_layer(
    head: nn.Module, features: Features, width: int, use_bias: bool = False, *, train: bool
) -> Float[Array, "batch n width"]:
    """Of a head of every point: dense, BatchNorm, ReLU of [local features, embedding].

    The product is taken as local part + embedding part, the latter once per cloud.
    """
    local = features.per_point
    inputs = local.shape[-1] + features.embedding.shape[-1]
    kernel = head.param("kernel", torch_uniform, (inputs, width))
    of_local, of_embedding = jnp.split(kernel, [local.shape[-1]])
    h = product(local, of_local) + (features.embedding @ of_embedding)[:, None, :]
    if use_bias:
        bias = head.param("bias", lambda key: torch_uniform(key, (inputs, width))[0])
        h = h + bias[None, None, :]
    return leaky_relu(BatchNorm(width, name="norm")(h, train=train), 0.0)
