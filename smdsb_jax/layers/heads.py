"""Heads: what follows an encoder. Dropout draws from the key collection `dropout`, in training only."""

import flax.linen as nn
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


class PointwiseHead(nn.Module):
    """Per-point features and the embedding -> a vector per point, as a rebuilt point; ReLU, no biases.

    The first layer's input is [local features, embedding] of every point; its product is taken as local
    part + embedding part, the latter once per cloud.
    [Achituve et al., WACV 2021, arXiv:2003.12641; dropout after all but the last hidden layer]
    """

    outputs: int = 3
    dropout: float = 0.5

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Float[Array, "batch n outputs"]:
        """Map every point; `train` turns dropout on and normalizes by the batch's own statistics."""
        local, embedding = features.per_point, features.embedding.shape[-1]
        width = embedding // 4  # 256, 256 and 128 after an embedding of 1024; narrow after a narrow one
        inputs = local.shape[-1] + embedding
        kernel = self.param("kernel", torch_uniform, (inputs, width))
        of_local, of_embedding = jnp.split(kernel, [local.shape[-1]])
        h = product(local, of_local) + (features.embedding @ of_embedding)[:, None, :]
        h = leaky_relu(BatchNorm(width, name="norm")(h, train=train), 0.0)
        for i, width in enumerate((embedding // 4, embedding // 8), start=2):
            h = Dropout(self.dropout)(h, train=train)
            h = DenseBlock(width, negative_slope=0.0, name=f"conv{i}")(h, train=train)
        return Dense(self.outputs, use_bias=False, name="out")(h)
