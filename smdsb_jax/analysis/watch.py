"""Do the tasks' gradients agree with each other and with the oracle's, while a run trains?"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from smdsb_jax.analysis import gradients
from smdsb_jax.analysis.conflict import gram
from smdsb_jax.analysis.measures import cosine
from smdsb_jax.augment import augment_batch
from smdsb_jax.build import load_domains
from smdsb_jax.config import Config, resolve
from smdsb_jax.datasets.domain import UNLABELLED, Split
from smdsb_jax.parts import Parts
from smdsb_jax.run.loop import Watch
from smdsb_jax.state import Batch, Clouds, TrainState, Tree
from smdsb_jax.train_step import step_keys, task_gradients

ORACLE = 64  # clouds of an oracle batch
NAMES = (
    "class",
    "pretext",
    "total",
    "oracle",
    "other_oracle",
)  # of the gradients, in the order of `products`
COSINES = {  # "other_oracle" is of other clouds: what two oracles agree in is all that one can be agreed with
    "class_pretext": ("class", "pretext"),
    "total_oracle": ("total", "oracle"),
    "class_oracle": ("class", "oracle"),
    "pretext_oracle": ("pretext", "oracle"),
    "oracle_oracle": ("oracle", "other_oracle"),
}


def watch_gradients(config: Config, every: int) -> Watch:
    """Of every so many steps cosines and norms of the encoder gradients, `watch/cos_…` and `watch/norm_…`.

    All at the network that the step begins from, normalized by the batch: `class` and `pretext` (of the kept
    samples) as the step itself has them, host weights included; `total`, their sum; `oracle`, the class
    loss of 64 training clouds of the target under their true labels, other ones each time: what a batch
    happens to hold, as more chairs than lamps, would bend a whole curve if it stayed.

    Raises:
      ValueError: a wrong configuration, data that cannot be read, or whose target has no labels or fewer
        than four labelled training clouds.
    """
    config = resolve(config)
    target = load_domains(config)[1].train
    draw_oracles(target, config.seed, 0)
    key = jax.random.fold_in(jax.random.key(config.seed), 4)  # 1 and 2 are the stages', 3 the labels'

    def begin(parts: Parts) -> Callable[[TrainState, Batch], Mapping[str, float]]:
        program = jax.jit(functools.partial(products, parts))
        named = bool(parts.pretext.names)

        def watch(state: TrainState, batch: Batch) -> Mapping[str, float]:
            oracles = draw_oracles(target, config.seed, int(state.step))
            return told(np.asarray(program(key, oracles, state, batch), np.float64), named)

        return watch

    return Watch(every, begin)


def draw_oracles(split: Split, seed: int, step: int) -> Clouds:
    """Two batches along the first axis, of as many clouds, none in both, under their true labels.

    A function of the split, the seed and the step, so that a resumed run draws the same.

    Raises:
      ValueError: too few clouds that have labels.
    """
    labelled = np.flatnonzero((split.label != UNLABELLED).reshape(len(split.label), -1).all(axis=1))
    size, devices = min(ORACLE, len(labelled) // 2), jax.device_count()
    size = size // devices * devices if size > devices else size
    if size < 2:
        raise ValueError(
            f"--watch compares with the target's classification gradient, and {len(labelled)} of its "
            "training clouds have labels. Train without it, or give labels of four at least."
        )
    rows = np.random.default_rng([seed, 4, step]).permutation(labelled)
    rows = rows[: 2 * size].reshape(2, size)
    return Clouds(jnp.asarray(split.points[rows]), jnp.asarray(split.label[rows]))


def products(
    parts: Parts, key: jax.Array, oracles: Clouds, state: TrainState, batch: Batch
) -> Float[Array, "gradients gradients"]:
    """Inner products of the gradients of NAMES with each other."""
    add = lambda a, b: jax.tree.map(jnp.add, a, b)  # noqa: E731
    found = task_gradients(parts, step_keys(state), state, batch).gradients
    of_class, *others = [of_task["encoder"] for of_task in found]
    of_pretext = functools.reduce(add, others, jax.tree.map(jnp.zeros_like, of_class))
    setup = gradients.Setup(parts, state.variables, state.pretext, train=True)

    def oracle(of: tuple[Clouds, jax.Array]) -> Tree:
        clouds, (view_key, pass_key) = of[0], jax.random.split(of[1])
        view = augment_batch(parts.augment, view_key, Batch(clouds, clouds)).target  # as targets are seen
        assert view.label is not None  # an oracle has labels
        losses = gradients.class_losses(setup, view.points, view.label, pass_key)
        return gradients.mean_gradient(losses, setup.encoder)

    oracle_keys = jax.random.split(jax.random.fold_in(key, state.step))
    pair = jax.lax.map(oracle, (oracles, oracle_keys))  # a loop: compiled once for both
    own = gradients.stack(of_class, of_pretext, add(of_class, of_pretext))
    return gram(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), own, pair))


def told(products: Float[np.ndarray, "gradients gradients"], pretext: bool) -> dict[str, float]:
    """Cosines and norms by name; those of the pretext task only where there is one."""
    known = {name: i for i, name in enumerate(NAMES) if pretext or name != "pretext"}
    found = {}
    for name, (a, b) in COSINES.items():
        if {a, b} <= known.keys():
            i, j = known[a], known[b]
            found[f"cos_{name}"] = float(cosine(products[i, j], products[i, i], products[j, j]))
    norms = {f"norm_{name}": float(np.sqrt(products[i, i])) for name, i in known.items()}
    return found | {name: norm for name, norm in norms.items() if name != "norm_other_oracle"}
