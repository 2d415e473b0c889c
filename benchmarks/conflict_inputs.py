"""`--conflict`: what all contenders get, made in a process of its own: making it counts in nobody's memory.

Runs by itself: `python -m benchmarks.conflict_inputs SETTING ARGUMENTS` prints the number of samples.
"""

import functools
import json
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from benchmarks.contenders import CLASSES, CONTENDERS, Setting, config_of, random_batch
from smdsb_jax import gradients
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.config import Config
from smdsb_jax.parts import Parts
from smdsb_jax.pretext import build_view
from smdsb_jax.pretext.defrec import Prepared
from smdsb_jax.state import Clouds, Tree, Variables

FILE = "inputs.npz"


class Inputs(NamedTuple):
    """Arrays of numpy, equal for all contenders."""

    variables: Variables  # the first weights
    directions: Tree  # of the encoder's parameters: class gradient, oracle gradient
    prepared: Prepared  # [batches, batch, ...]: clouds with their deformed regions


def config_and_parts(setting: Setting) -> tuple[Config, Parts]:
    """DefRec on the setting's encoder, in stage 1."""
    config = config_of(setting, CONTENDERS["jax no selection"])
    return config, build_parts(config, 1, CLASSES)


def make_inputs(setting: Setting, batches: int) -> Inputs:
    """First weights, the gradients of two batches under labels, and mini-batches of deformed clouds."""
    _, parts = config_and_parts(setting)
    state = jax.jit(functools.partial(init_state, parts))(jax.random.key(0))
    setup = gradients.Setup(parts, state.variables, state.pretext, train=True)
    labelled = random_batch(setting._replace(stage=2))  # whose target has labels, too

    def direction(points: jax.Array, label: jax.Array) -> Tree:
        losses = gradients.class_losses(setup, points, label, jax.random.key(1))
        return gradients.mean_gradient(losses, setup.encoder)

    both = [jax.jit(direction)(*map(jnp.asarray, half[:2])) for half in labelled]
    clouds = [random_batch(setting, seed=b).source.points for b in range(batches)]

    @jax.jit
    def prepare(points: jax.Array, key: jax.Array) -> Tree:
        clouds = Clouds(points)
        return parts.pretext.prepare(build_view(clouds, clouds, "target", jnp.zeros(())), key)

    keys = jax.random.split(jax.random.key(2), batches)
    drawn = [jax.device_get(prepare(*of_batch)) for of_batch in zip(clouds, keys, strict=True)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)
    variables, directions = jax.device_get((state.variables, gradients.stack(*both)))
    return Inputs(variables, directions, stacked)


def save(path: Path, inputs: Inputs) -> None:
    """Write the arrays; `load` reads them."""
    named = flatten_dict({**inputs._asdict(), "prepared": inputs.prepared._asdict()}, sep="/")
    np.savez(path, **named)  # type: ignore[arg-type]


def load(path: Path) -> Inputs:
    """What `save` wrote."""
    with np.load(path) as stored:
        tree = unflatten_dict(dict(stored), sep="/")
    return Inputs(tree["variables"], tree["directions"], Prepared(**tree["prepared"]))


if __name__ == "__main__":
    setting, given = Setting(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    jax.config.update("jax_default_matmul_precision", setting.precision)
    save(Path(given["folder"]) / FILE, make_inputs(setting, given["batches"]))
    print(json.dumps(setting.batch * given["batches"]))
