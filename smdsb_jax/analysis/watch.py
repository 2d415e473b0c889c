"""Do the tasks' gradients agree with each other and with the oracle's, while a run trains?"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from smdsb_jax import gradients
from smdsb_jax.build import load_domains
from smdsb_jax.config import Config, resolve
from smdsb_jax.gradient_agreement import cosine
from smdsb_jax.parts import Parts
from smdsb_jax.run import hosts
from smdsb_jax.run.bounds import draw_labelled
from smdsb_jax.run.loop import Watch, Watcher
from smdsb_jax.state import Batch, Clouds, Pair, TrainState, Tree
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
    draw = lambda step: draw_labelled(target, (config.seed, 4, step), 2, ORACLE)  # noqa: E731
    draw(0)
    key = jax.random.fold_in(jax.random.key(config.seed), 4)  # 1 and 2 are the stages', 3 the labels'

    def begin(parts: Parts) -> Watcher:
        program = jax.jit(functools.partial(products, parts))
        named = bool(parts.pretext.names)

        def watch(state: TrainState, batch: Batch, scores: Pair | None) -> Mapping[str, float]:
            found = program(key, draw(int(state.step)), state, batch, scores)
            return told(hosts.fetch(found).astype(np.float64), named)

        return watch

    return Watch(every, begin)


def products(
    parts: Parts,
    key: jax.Array,
    oracles: Clouds,
    state: TrainState,
    batch: Batch,
    scores: Pair | None = None,
) -> Float[Array, "gradients gradients"]:
    """Inner products of the gradients of NAMES with each other."""
    add = lambda a, b: jax.tree.map(jnp.add, a, b)  # noqa: E731
    found = task_gradients(parts, step_keys(state), state, batch, scores).gradients
    of_class, *others = [of_task["encoder"] for of_task in found]
    of_pretext = functools.reduce(add, others, jax.tree.map(jnp.zeros_like, of_class))
    setup = gradients.Setup(parts, state.variables, state.pretext, train=True)

    def oracle(of: tuple[Clouds, jax.Array]) -> Tree:
        clouds, (view_key, pass_key) = of[0], jax.random.split(of[1])
        return gradients.labelled_gradient(setup, clouds, view_key, pass_key)

    oracle_keys = jax.random.split(jax.random.fold_in(key, state.step))
    pair = jax.lax.map(oracle, (oracles, oracle_keys))  # a loop: compiled once for both
    own = gradients.stack(of_class, of_pretext, add(of_class, of_pretext))
    return gradients.gram(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), own, pair))


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
