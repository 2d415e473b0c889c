"""`--conflict`: each way to the same numbers, in a process of its own.

`python -m benchmarks.conflict_contenders NAME SETTING ARGUMENTS` compiles, says so, and then reads commands,
a line each: `warm-up`, `step`, `values`, `memory`. Each answer is one line of JSON.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Compiled

from benchmarks.conflict_inputs import FILE, Inputs, config_and_parts, load
from benchmarks.contenders import Setting
from benchmarks.worker import peak_resident_bytes
from smdsb_jax import gradients
from smdsb_jax.analysis.chunks import choose_chunk
from smdsb_jax.gradient_agreement import cosine
from smdsb_jax.parts import Parts
from smdsb_jax.pretext.defrec import Prepared
from smdsb_jax.run.memory import memory_budget, temporary_bytes
from smdsb_jax.state import Tree, Variables

KEY = jax.random.key(3)  # of dropout in the reconstruction head: what is compared must drop the same
Values = np.ndarray  # [2, batch]: of the class direction, of the oracle direction


class Built(NamedTuple):
    """A contender, ready to run."""

    measure: Callable[[Prepared], Values]  # of one mini-batch on the device
    facts: dict[str, Any]


def setup(parts: Parts, variables: Variables, train: bool) -> gradients.Setup:
    """DefRec, which has no state."""
    return gradients.Setup(parts, variables, (), train)


def losses(parts: Parts, variables: Variables, prepared: Prepared) -> gradients.Losses:
    """Of a mini-batch whose samples are coupled by BatchNorm, as in training."""
    return gradients.pretext_losses(setup(parts, variables, True), prepared, KEY)


def encoder(variables: Variables) -> Tree:
    """The parameters whose gradients are compared."""
    return variables["params"]["encoder"]


def dots(gradient: Tree, directions: Tree) -> tuple[jax.Array, jax.Array]:
    """Inner products with the directions, and the squared norm."""
    along = jax.vmap(lambda direction: gradients.dot(gradient, direction))(directions)
    return along, gradients.dot(gradient, gradient)


def cosines(products: Any, squared: Any, directions: Tree) -> Values:
    """Cosines with the directions, from products [2, batch] and squared norms."""
    lengths = np.asarray(jax.vmap(lambda direction: gradients.dot(direction, direction))(directions))
    squared = np.asarray(squared)
    return np.stack(
        [cosine(p, squared, float(d)) for p, d in zip(np.asarray(products), lengths, strict=True)]
    )


def facts(*programs: Compiled, **more: Any) -> dict[str, Any]:
    """What the compiler says that the programs need beside their arguments and results."""
    known = [size for size in map(temporary_bytes, programs) if size is not None]
    return ({"temporary_bytes": max(known)} if known else {}) | more


def products_in_forward_mode(parts: Parts, inputs: Inputs, first: Prepared) -> Built:
    """All samples of a mini-batch and both directions in one pass."""

    def program(variables: Variables, directions: Tree, prepared: Prepared) -> jax.Array:
        return gradients.inner_products(losses(parts, variables, prepared), encoder(variables), directions)

    given = inputs.variables, inputs.directions
    run = jax.jit(program).lower(*given, first).compile()
    return Built(lambda prepared: np.asarray(run(*given, prepared)), facts(run))


def products_by_a_loop(parts: Parts, inputs: Inputs, first: Prepared) -> Built:
    """A forward and a backward pass of the whole mini-batch for each of its samples."""
    batch = len(first.points)

    def program(variables: Variables, prepared: Prepared, chosen: jax.Array) -> Tree:
        return jax.vjp(losses(parts, variables, prepared), encoder(variables))[1](chosen)[0]

    one_hot = list(jnp.eye(batch))
    back = jax.jit(program).lower(inputs.variables, first, one_hot[0]).compile()
    along = jax.jit(dots).lower(encoder(inputs.variables), inputs.directions).compile()

    def measure(prepared: Prepared) -> Values:
        gradients_of = (back(inputs.variables, prepared, chosen) for chosen in one_hot)
        return np.stack([np.asarray(along(g, inputs.directions)[0]) for g in gradients_of], axis=1)

    return Built(measure, facts(back, along))


def products_by_a_loop_over_one_pass(parts: Parts, inputs: Inputs, first: Prepared) -> Built:
    """One forward pass, whose intermediate results serve a backward pass for each of the samples."""
    batch = len(first.points)

    def program(variables: Variables, prepared: Prepared) -> Any:
        return jax.vjp(losses(parts, variables, prepared), encoder(variables))[1]

    one_hot = list(jnp.eye(batch))
    forward = jax.jit(program).lower(inputs.variables, first).compile()
    shapes = jax.eval_shape(program, inputs.variables, first)
    back = jax.jit(lambda pullback, chosen: pullback(chosen)[0]).lower(shapes, one_hot[0]).compile()
    along = jax.jit(dots).lower(encoder(inputs.variables), inputs.directions).compile()

    def measure(prepared: Prepared) -> Values:
        pullback = forward(inputs.variables, prepared)
        gradients_of = (back(pullback, chosen) for chosen in one_hot)
        return np.stack([np.asarray(along(g, inputs.directions)[0]) for g in gradients_of], axis=1)

    return Built(measure, facts(forward, back, along))


def cosines_in_chunks(parts: Parts, inputs: Inputs, first: Prepared, layer: str | None = None) -> Built:
    """Each sample's own gradient, some at a time, in inference mode; of one layer only, if it is given."""
    directions = inputs.directions if layer is None else {layer: inputs.directions[layer]}

    def program(chunk: int, variables: Variables, directions: Tree, rows: Prepared) -> gradients.Products:
        whole = gradients.loss_of_one(setup(parts, variables, False), KEY)
        chosen, loss = encoder(variables), whole
        if layer is not None:
            chosen = {layer: chosen[layer]}
            loss = lambda part, row: whole(encoder(variables) | part, row)  # noqa: E731
        return gradients.products_and_norms(loss, chosen, rows, directions, chunk)

    given = inputs.variables, directions
    lower = lambda chunk: jax.jit(functools.partial(program, chunk)).lower(*given, first)  # noqa: E731
    chunk = choose_chunk(lower, len(first.points), memory_budget())
    run = lower(chunk).compile()

    def measure(prepared: Prepared) -> Values:
        found = run(*given, prepared)
        return cosines(found.products, found.squared, directions)

    return Built(measure, facts(run, chunk=chunk))


def cosines_of_the_last_layer(parts: Parts, inputs: Inputs, first: Prepared) -> Built:
    """The cheap estimate."""
    layer = gradients.last_layer(parts.network, first.points.shape[1])
    return cosines_in_chunks(parts, inputs, first, layer)


def cosines_by_a_loop(parts: Parts, inputs: Inputs, first: Prepared) -> Built:
    """A forward and a backward pass of each sample alone."""

    def program(variables: Variables, row: Prepared) -> Tree:
        loss = gradients.loss_of_one(setup(parts, variables, False), KEY)
        return jax.grad(loss)(encoder(variables), row)

    row_of = lambda prepared, i: jax.tree.map(lambda leaf: leaf[i], prepared)  # noqa: E731
    back = jax.jit(program).lower(inputs.variables, row_of(first, 0)).compile()
    along = jax.jit(dots).lower(encoder(inputs.variables), inputs.directions).compile()

    def measure(prepared: Prepared) -> Values:
        own = (back(inputs.variables, row_of(prepared, i)) for i in range(len(prepared.points)))
        products, squared = zip(*(along(gradient, inputs.directions) for gradient in own), strict=True)
        return cosines(np.stack(products, axis=1), np.stack(squared), inputs.directions)

    return Built(measure, facts(back, along))


class Contender(NamedTuple):
    """A way to some numbers."""

    numbers: str  # what they are; the first contender of the same is the loop that they are compared with
    build: Callable[[Parts, Inputs, Prepared], Built] | None  # None: PyTorch's
    loops: bool = False  # measured on one mini-batch a round, since its rate does not depend on how many
    tolerance: float | None = 1e-3  # of the largest value: sums run in another order; None: an estimate


PRODUCTS, COSINES = "inner products, coupled", "cosines, inference mode"
CONTENDERS = {
    "loop": Contender(PRODUCTS, products_by_a_loop, loops=True),
    "loop over one forward pass": Contender(PRODUCTS, products_by_a_loop_over_one_pass, loops=True),
    "forward mode": Contender(PRODUCTS, products_in_forward_mode),
    "loop of single samples": Contender(COSINES, cosines_by_a_loop, loops=True),
    # As research code writes it. In float32 its search rounds to other neighbors: 1e-2, in float64 5e-14.
    "torch loop of single samples": Contender(COSINES, None, loops=True, tolerance=3e-2),
    "in chunks": Contender(COSINES, cosines_in_chunks),
    "last layer": Contender(COSINES, cosines_of_the_last_layer, tolerance=None),
}


def build(name: str, setting: Setting, inputs: Inputs, first: Prepared) -> Built:
    """Compile a contender."""
    config, parts = config_and_parts(setting)
    make = CONTENDERS[name].build
    if make is None:
        from benchmarks import conflict_torch  # not all have it

        return Built(conflict_torch.build(setting, config, inputs), {})
    return make(parts, jax.device_put(inputs), first)


def serve(name: str, setting: Setting, inputs: Inputs, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until they end."""

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    count = 1 if CONTENDERS[name].loops else len(inputs.prepared.points)
    on_device = jax.device_put if CONTENDERS[name].build else lambda prepared: prepared
    batches = [on_device(Prepared(*(leaf[b] for leaf in inputs.prepared))) for b in range(count)]
    device = jax.local_devices()[0]
    built = build(name, setting, inputs, batches[0])
    say(device=device.device_kind, samples=count * setting.batch, **built.facts)
    values: list[Values] = []
    for command in map(str.strip, commands):
        if command == "warm-up":
            built.measure(batches[0])
            say()
        elif command == "memory":
            peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
            say(peak_bytes=peak or peak_resident_bytes())
        elif command == "values":
            say(values=np.concatenate(values, axis=1).astype(float).tolist())
        else:
            begun = time.perf_counter()
            values = [built.measure(batch) for batch in batches]
            say(seconds=time.perf_counter() - begun)


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not pass for an answer
    asked, given = Setting(**json.loads(sys.argv[2])), json.loads(sys.argv[3])
    jax.config.update("jax_default_matmul_precision", asked.precision)
    serve(sys.argv[1], asked, load(Path(given["folder"]) / FILE), sys.stdin, channel)
