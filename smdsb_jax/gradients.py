"""Per-sample pretext gradients of the encoder, met only through inner products: never all of them in memory.

Forward mode gives the products of every sample's gradient with a given direction in one pass, coupled
through BatchNorm as in training; norms need each gradient itself, a few samples at a time.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.augment import augment_batch
from smdsb_jax.layers.basic import BatchNorm
from smdsb_jax.network import Network, Train, per_sample_mean, predict
from smdsb_jax.parts import Parts
from smdsb_jax.pretext_pass import weighed_losses
from smdsb_jax.state import Batch, Clouds, Pair, Tree, Variables
from smdsb_jax.train_step import weigh_labels, weights

Losses: TypeAlias = Callable[[Tree], Float[Array, " batch"]]  # of the encoder's parameters


class Setup(NamedTuple):
    """A checkpoint, and how its passes normalize: `True` is training's way, `False` inference's."""

    parts: Parts
    variables: Variables
    pretext: Tree  # the state of the pretext task
    train: Train

    @property
    def encoder(self) -> Tree:
        """The parameters that all gradients here are taken with respect to."""
        return self.variables["params"]["encoder"]


def with_encoder(variables: Variables, encoder: Tree) -> Variables:
    """The variables with other encoder parameters."""
    return variables | {"params": variables["params"] | {"encoder": encoder}}


def pretext_losses(setup: Setup, prepared: Tree, key: jax.Array) -> Losses:
    """The pretext losses l_i of prepared samples, the host's weights included, not divided by the batch.

    Raises:
      ValueError: a task without losses per sample.
    """

    def losses(encoder: Tree) -> Float[Array, " batch"]:
        variables = with_encoder(setup.variables, encoder)
        return weighed_losses(setup.parts, variables, setup.pretext, prepared, key, setup.train)

    return losses


def class_losses(
    setup: Setup,
    points: Float[Array, "batch n 3"],
    label: Int[Array, "batch *points"],
    key: jax.Array,
    weight: Float[Array, "batch *points"] | None = None,
) -> Losses:
    """Class losses of clouds under the given labels, times these weights, without the host's class weight."""

    def losses(encoder: Tree) -> Float[Array, " batch"]:
        variables = with_encoder(setup.variables, encoder)
        network = setup.parts.network
        output, *_ = predict(network, variables, points, key, train=setup.train)
        loss = network.task.loss(output, label)
        return per_sample_mean(loss if weight is None else weight * loss)

    return losses


def deployed_losses(setup: Setup, points: Pair, label: Int[Array, "batch *points"], key: jax.Array) -> Losses:
    """Class losses of the target as a user of the network has them: in inference mode, once it has learned.

    Their values are those under the running statistics. Their derivatives also follow these, as statistics
    estimated anew in a pass of each domain do: a change of the parameters that BatchNorm takes back, as of a
    kernel's scale, changes nothing in the end.
    """

    def losses(encoder: Tree) -> Float[Array, " batch"]:
        variables, network = with_encoder(setup.variables, encoder), setup.parts.network
        passes = [predict(network, variables, p, key, train=True)[2]["batch_stats"] for p in points]

        def follow(running: Array, *updated: Array) -> Array:  # updated by `momentum` of a pass's statistic
            moved = sum(updated, jnp.zeros(())) / (len(updated) * BatchNorm.momentum)
            return running + moved - jax.lax.stop_gradient(moved)

        following = jax.tree.map(follow, variables["batch_stats"], *passes)
        output, *_ = predict(network, variables | {"batch_stats": following}, points.target, key, train=False)
        return per_sample_mean(network.task.loss(output, label))

    return losses


def mean_gradient(losses: Losses, encoder: Tree) -> Tree:
    """The gradient of the mean loss of a batch."""
    return jax.grad(lambda encoder: jnp.mean(losses(encoder)))(encoder)


def class_gradient(setup: Setup, augmented: Batch, key: jax.Array) -> Tree:
    """g_c, what a step follows of the classes, the host's weight included: of every domain that has labels.

    The source under its own, in stage 2 also the target under its pseudo-labels, each a mean of its own pass.
    """
    total = jax.tree.map(jnp.zeros_like, setup.encoder)
    for clouds in weigh_labels(setup.parts, augmented):
        if clouds.label is not None:
            losses = class_losses(setup, clouds.points, clouds.label, key, weights(clouds))
            total = jax.tree.map(jnp.add, total, mean_gradient(losses, setup.encoder))
    return jax.tree.map(lambda g: setup.parts.class_weight * g, total)


def labelled_gradient(
    setup: Setup, clouds: Clouds, view_key: jax.Array, pass_key: jax.Array, domain: str = "target"
) -> Tree:
    """g_o of a batch of target clouds with their true labels, or as much of the source; no host's weight."""
    view = getattr(
        augment_batch(setup.parts.augment, view_key, Batch(clouds, clouds)), domain
    )  # as it is seen
    assert view.label is not None  # an oracle has labels
    return mean_gradient(class_losses(setup, view.points, view.label, pass_key), setup.encoder)


def inner_products(losses: Losses, encoder: Tree, directions: Tree) -> Float[Array, "directions batch"]:
    """s_i · d of every sample's gradient s_i = ∂l_i/∂θ with some directions d, in one forward-mode pass.

    Args:
      losses: of a batch. In training mode s_i contains what sample i does through the batch's statistics, and
        the s_i add up to the gradient of the sum: masking a sample changes the step by its s_i exactly.
      encoder: parameters θ.
      directions: a tree like θ, each array with the directions along its first axis.
    """
    along = lambda direction: jax.jvp(losses, (encoder,), (direction,))[1]  # noqa: E731
    return jax.vmap(along)(directions)


class Products(NamedTuple):
    """Scalars of each sample's gradient s_i."""

    products: Float[Array, "directions batch"]  # s_i · d
    squared: Float[Array, " batch"]  # |s_i|^2


def products_and_norms(
    loss_of_one: Callable[[Tree, Tree], Float[Array, ""]],
    encoder: Tree,
    rows: Tree,
    directions: Tree,
    chunk: int,
) -> Products:
    """Inner products and norms from each sample's own gradient, `chunk` samples at a time.

    Args:
      loss_of_one: (θ, one row of `rows`) → the sample's loss, which sees no other sample.
      encoder: parameters θ.
      rows: a tree with the samples along the first axis.
      directions: as for `inner_products`.
      chunk: gradients that exist at a time; memory grows with it.
    """

    def scalars(row: Tree) -> tuple[Array, Array]:
        own = jax.grad(loss_of_one)(encoder, row)
        return jax.vmap(lambda direction: dot(own, direction))(directions), dot(own, own)

    products, squared = jax.lax.map(scalars, rows, batch_size=chunk)
    return Products(products.T, squared)


def loss_of_one(setup: Setup, key: jax.Array) -> Callable[[Tree, Tree], Float[Array, ""]]:
    """The pretext loss of one row of prepared samples, for `products_and_norms`; in inference mode only.

    Raises:
      ValueError: another mode, in which a sample's loss is not its own.
    """
    if setup.train is not False:
        raise ValueError("A sample has a loss of its own in inference mode only: give Setup(train=False).")

    def loss(encoder: Tree, row: Tree) -> Float[Array, ""]:
        alone = jax.tree.map(lambda leaf: leaf[None], row)
        return pretext_losses(setup, alone, key)(encoder)[0]

    return loss


def dot(a: Tree, b: Tree) -> Float[Array, ""]:
    """The inner product of two trees of arrays."""
    return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, a, b)), jnp.zeros(()))


def gram(along: Tree) -> Float[Array, "directions directions"]:
    """Inner products of stacked trees with each other."""
    return jax.vmap(lambda a: jax.vmap(lambda b: dot(a, b))(along))(along)


def stack(*trees: Tree) -> Tree:
    """Directions as `inner_products` wants them."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def last_layer(network: Network, points: int) -> str:
    """The encoder's layer nearest to the embedding: the name of its part of the parameters.

    Gradients of it alone need no backward pass through the layers before: a cheap estimate of agreement.
    """
    called: list[str] = []

    def record(call, args, kwargs, context):
        called.extend(context.module.path[:1])
        return call(*args, **kwargs)

    clouds = jax.ShapeDtypeStruct((2, points, 3), jnp.float32)
    with nn.intercept_methods(record):
        shapes = jax.eval_shape(
            functools.partial(network.encoder.init, train=False), jax.random.key(0), clouds
        )
    own = set(shapes["params"])
    return next(name for name in reversed(called) if name in own)
