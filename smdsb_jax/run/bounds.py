"""Scores that no filter has in practice, to bound what any statistic can do: `config.selection.bound`.

`cos_c` takes a backward pass of each sample, `dot_c` a forward-mode pass of the mini-batch and now and then
the gradient of a pool of the source's clouds, the oracles the target's true labels too. They are the measures
of the laboratory, of the views that the step itself draws: `cos_c` and `oracle_gain` of gradients in
inference mode, `dot_c` and `oracle_dot_o` of those through the batch's statistics, which selection takes from
the step.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from smdsb_jax import gradient_agreement, gradients
from smdsb_jax.augment import augment_batch
from smdsb_jax.config import Config, domain_batch_size
from smdsb_jax.datasets.domain import UNLABELLED, Split
from smdsb_jax.parts import Parts
from smdsb_jax.pretext import build_view, prepare
from smdsb_jax.run import hosts
from smdsb_jax.selection import ORACLES, POOL_STEPS, POOLED
from smdsb_jax.state import Batch, Clouds, Pair, TrainState, Tree
from smdsb_jax.train_step import step_keys

POOL = 512  # labelled clouds
CHUNK = 4  # samples whose gradients exist at a time
CLASS, ORACLE = range(2)


class Scorer(NamedTuple):
    """What scores the mini-batch of a step, from the state that the step begins from."""

    # the pool's gradient and the state → the same, or from time to time a new one; None starts it
    renew: Callable[[Tree | None, TrainState], Tree]
    scores: Callable[[Tree, TrainState, Batch], Pair]  # with it → scores of source and target


class Found(NamedTuple):
    """Inner products of the encoder's gradients, by domain."""

    # of each sample's with g_c and the pool's gradient, and its square; of COUPLED with the pool's alone; the
    # source's first
    own: list[gradients.Products]
    gram: Float[Array, "directions directions"]  # of the two with each other


def build_scorer(config: Config, parts: Parts, source: Split, target: Split) -> Scorer | None:
    """The scorer of `config.selection.bound`; None where the statistic scores.

    The pool's gradient is made anew every POOL_STEPS steps, of other clouds. A run resumes to the same bits
    where its checkpoints are of such steps; the configuration and the loop see to that.

    Raises:
      ValueError: the domain of the pool has no labelled training clouds.
    """
    name = config.selection.bound
    if parts.selection is None or not name:
        return None
    split, domain = (target, "target") if name in ORACLES else (source, "source")
    batch_size = domain_batch_size(config)
    draw = lambda step: draw_labelled(split, (config.seed, 5, step), POOL // batch_size or 1, batch_size)  # noqa: E731
    if name in POOLED:
        draw(0)
    measure = jax.jit(functools.partial(measure_batch, parts))
    compiled = jax.jit(functools.partial(pool_gradient, parts, domain))
    key = jax.random.fold_in(jax.random.key(config.seed), 5)  # 1 to 4 are of stages, labels and watch

    def renew(held: Tree | None, state: TrainState) -> Tree:
        step = int(state.step)
        if name not in POOLED:
            return jax.tree.map(jnp.zeros_like, state.variables["params"]["encoder"])
        if held is not None and step % POOL_STEPS:
            return held
        return compiled(jax.random.fold_in(key, step), draw(step), state)

    def scores(of_pool: Tree, state: TrainState, batch: Batch) -> Pair:
        found = hosts.fetch(measure(of_pool, state, batch))
        double = functools.partial(np.asarray, dtype=np.float64)
        values = [MEASURES[name](*map(double, (*own, found.gram))) for own in found.own]
        return Pair(*(value.astype(np.float32) for value in values), *[None] * (2 - len(values)))

    return Scorer(renew, scores)


def draw_labelled(split: Split, draw: tuple[int, ...], batches: int, most: int) -> Clouds:
    """Batches of clouds under their true labels along the first axis, no cloud in two of them.

    Args:
      split: where from.
      draw: which draw, as (seed, purpose, step): the same gives the same, so that a resumed run draws alike.
      batches: how many; fewer where there are too few clouds, but two at least if two are wanted.
      most: clouds of one; fewer where there are too few, a multiple of the devices.

    Raises:
      ValueError: too few clouds that have labels.
    """
    labelled = np.flatnonzero((split.label != UNLABELLED).reshape(len(split.label), -1).all(axis=1))
    batches = max(min(batches, len(labelled) // most), min(batches, 2))
    size, devices = min(most, len(labelled) // batches), jax.device_count()
    size = size // devices * devices if size > devices else size
    if size < 2:
        raise ValueError(
            f"The classification gradient under true labels needs clouds, and {len(labelled)} of the "
            "domain's training clouds have labels. Give labels of four at least, or leave it out: "
            "config.selection.bound, --watch."
        )
    rows = np.random.default_rng(draw).permutation(labelled)[: batches * size].reshape(batches, size)
    return Clouds(jnp.asarray(split.points[rows]), jnp.asarray(split.label[rows]))


def pool_gradient(parts: Parts, domain: str, key: jax.Array, pool: Clouds, state: TrainState) -> Tree:
    """The mean class gradient of a pool of batches, as its domain is seen: of the target g_o."""
    setup = _setup(parts, state)

    def of_batch(total: Tree, one: tuple[Clouds, jax.Array]) -> tuple[Tree, None]:
        clouds, (view_key, pass_key) = one[0], jax.random.split(one[1])
        return jax.tree.map(
            jnp.add, total, gradients.labelled_gradient(setup, clouds, view_key, pass_key, domain)
        ), None

    batches = len(pool.points)
    zero = jax.tree.map(jnp.zeros_like, setup.encoder)
    total, _ = jax.lax.scan(of_batch, zero, (pool, jax.random.split(key, batches)))
    return jax.tree.map(lambda leaf: leaf / batches, total)


def measure_batch(parts: Parts, of_pool: Tree, state: TrainState, batch: Batch) -> Found:
    """The products of each sample that the next step may select, of the views that it draws.

    The target's too where it has labels or is frozen without.
    """
    keys = step_keys(state)
    augmented = augment_batch(parts.augment, keys[0], batch)
    setup, own = _setup(parts, state), []
    assert parts.selection is not None  # `build_scorer` asks
    coupled = setup.train
    of_class = () if coupled else (gradients.class_gradient(setup, augmented, keys[1]),)
    along = gradients.stack(*of_class, of_pool)
    for domain, domain_key in zip(Batch._fields, jax.random.split(keys[4]), strict=True):
        clouds: Clouds = getattr(augmented, domain)
        if clouds.label is None and not parts.selection.freeze_unlabelled:
            continue
        view = build_view(clouds, getattr(batch, domain), domain, state.step / parts.steps)
        prepared, loss_key = prepare(parts.pretext, view, domain_key)
        if coupled:
            losses = gradients.pretext_losses(setup, prepared, loss_key)
            products = gradients.inner_products(losses, setup.encoder, along)
            own.append(gradients.Products(products, jnp.zeros(products.shape[1:])))
        else:
            loss = gradients.loss_of_one(setup, loss_key)
            own.append(gradients.products_and_norms(loss, setup.encoder, prepared, along, CHUNK))
    return Found(own, gradients.gram(along))


def _setup(parts: Parts, state: TrainState) -> gradients.Setup:
    assert parts.selection is not None
    return gradients.Setup(parts, state.variables, state.pretext, train=parts.selection.bound in COUPLED)


Products = Float[np.ndarray, "directions batch"]  # with g_c and g_o, or with the pool's gradient alone
Values = Float[np.ndarray, " batch"]
Gram = Float[np.ndarray, "directions directions"]


def _cos_c(products: Products, squared: Values, gram: Gram) -> Values:
    return gradient_agreement.cosine(products[CLASS], squared, float(gram[CLASS, CLASS]))


def _oracle_gain(products: Products, squared: Values, gram: Gram) -> Values:
    with_class = float(gram[CLASS, ORACLE]), float(gram[CLASS, CLASS]), float(gram[ORACLE, ORACLE])
    return gradient_agreement.gain(products[ORACLE], products[CLASS], squared, *with_class)


def _with_the_pool(products: Products, squared: Values, gram: Gram) -> Values:
    return products[0]


# the names are those of `smdsb_jax.selection.BOUNDS`
MEASURES: dict[str, Callable[..., Float[np.ndarray, " batch"]]] = {
    "cos_c": _cos_c,
    "oracle_gain": _oracle_gain,
    "dot_c": _with_the_pool,
    "oracle_dot_o": _with_the_pool,
}
COUPLED = ("dot_c", "oracle_dot_o")  # of gradients through the batch's statistics, with the pool's alone
