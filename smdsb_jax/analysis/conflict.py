"""How much each sample's pretext gradient agrees with the classification's and the oracle's."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from smdsb_jax import gradient_agreement as measures
from smdsb_jax import gradients
from smdsb_jax.analysis.chunks import choose_chunk
from smdsb_jax.analysis.subject import Subject
from smdsb_jax.analysis.views import AugmentedBatch, Rows, augment_all, augment_and_prepare
from smdsb_jax.gradients import Setup
from smdsb_jax.network import Train
from smdsb_jax.parts import Parts
from smdsb_jax.run.memory import memory_budget
from smdsb_jax.state import Batch, Clouds, Tree, Variables

# of a sample's gradient: through the batch's statistics (the effect of masking it), with them as constants,
# with the running ones (a property of the sample alone)
DEFINITIONS: dict[str, Train] = {"coupled": True, "frozen_batch": "constant", "running": False}


class Agreements(NamedTuple):
    """Values by name, each [2, samples]: source, target; and of the whole."""

    measures: dict[str, Float[np.ndarray, "2 n"]]
    checks: dict[str, Float[np.ndarray, "2 n"]]  # other definitions and estimates of the same, and sizes
    angles: dict[str, Float[np.ndarray, ""]]  # cosines of mean gradients


def directions(
    parts: Parts, train: Train, variables: Variables, pretext: Tree, batch: AugmentedBatch
) -> Tree:
    """g_c with the host's weight, g_o without one, and g = g_c + g_s of one mini-batch, stacked.

    g_c is what the step follows: of the source, and in stage 2 also of the target under its pseudo-labels.
    In training mode a fourth is g_o of the network as it is used (`gradients.deployed_losses`).
    """
    setup = Setup(parts, variables, pretext, train)
    mean = lambda losses: gradients.mean_gradient(losses, setup.encoder)  # noqa: E731
    add = lambda a, b: jax.tree.map(jnp.add, a, b)  # noqa: E731
    target = Clouds(batch.points.target) if batch.pseudo is None else batch.pseudo
    labelled = Batch(Clouds(batch.points.source, batch.label.source), target)
    of_class = gradients.class_gradient(setup, labelled, batch.key)
    oracle = mean(gradients.class_losses(setup, batch.points.target, batch.label.target, batch.key))
    total = of_class
    for name, prepared, key in zip(Batch._fields, batch.prepared, batch.loss_keys, strict=True):
        if name == "target" or parts.pretext_on_source:
            total = add(total, mean(gradients.pretext_losses(setup, prepared, key)))
    found = [of_class, oracle, total]
    if train is True:
        found.append(mean(gradients.deployed_losses(setup, batch.points, batch.label.target, batch.key)))
    return gradients.stack(*found)


def forward_products(
    parts: Parts, train: Train, variables: Variables, pretext: Tree, batch: AugmentedBatch, along: Tree
) -> Float[Array, "2 directions batch"]:
    """s_i · d of both domains' samples, in forward mode."""
    setup = Setup(parts, variables, pretext, train)
    return jnp.stack(
        [
            gradients.inner_products(gradients.pretext_losses(setup, prepared, key), setup.encoder, along)
            for prepared, key in zip(batch.prepared, batch.loss_keys, strict=True)
        ]
    )


def own_products(
    parts: Parts,
    layer: str | None,
    chunk: int,
    variables: Variables,
    pretext: Tree,
    batch: AugmentedBatch,
    along: Tree,
) -> gradients.Products:
    """Products and norms of both domains' samples in inference mode, each array with a leading axis of 2.

    With `layer` the gradients are those of that part of the encoder alone.
    """
    setup = Setup(parts, variables, pretext, train=False)
    chosen = setup.encoder
    if layer is not None:
        chosen, along = {layer: chosen[layer]}, {layer: along[layer]}

    def of_domain(prepared: Tree, key: jax.Array) -> gradients.Products:
        whole = gradients.loss_of_one(setup, key)
        loss = whole if layer is None else lambda part, row: whole(setup.encoder | part, row)
        return gradients.products_and_norms(loss, chosen, prepared, along, chunk)

    both = map(of_domain, batch.prepared, batch.loss_keys)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)


class Programs(NamedTuple):
    """The compiled functions of one checkpoint."""

    augment: Callable[..., AugmentedBatch]
    directions: Callable[..., Tree]  # (train, variables, pretext, batch)
    forward: Callable[..., Array]  # (train, variables, pretext, batch, along)
    own: Any  # jitted, to `gradients.Products`: (layer, chunk, variables, pretext, batch, along)
    gram: Callable[..., Array]


def compile_programs(subject: Subject) -> Programs:
    """Nothing is compiled before it is called; the first two arguments of some choose a program."""

    def jit(function: Callable[..., Any], static: tuple[int, ...] = ()) -> Any:
        at_precision = jax.default_matmul_precision(subject.config.matmul_precision)(function)
        return jax.jit(at_precision, static_argnums=static)

    parts = subject.parts
    return Programs(
        jit(functools.partial(augment_and_prepare, parts)),
        jit(functools.partial(directions, parts), (0,)),
        jit(functools.partial(forward_products, parts), (0,)),
        jit(functools.partial(own_products, parts), (0, 1)),
        jit(gradients.gram),
    )


def count_ticks(pool: int, measured: int) -> int:
    """How often `agreements` calls `tick`."""
    return len(DEFINITIONS) * (pool + measured) + 3 * measured


def agreements(
    subject: Subject,
    rows: Rows,
    measured: int,
    skipped: int,
    seed: int,
    tick: Callable[[str], Any],
) -> Agreements:
    """All measures of the samples of the first `measured` mini-batches.

    Args:
      subject: the checkpoint.
      rows: of the source's and the target's training clouds, in mini-batches.
      measured: how many of them.
      skipped: how many of the first do not add to g_c, g_o and g, which are means over all others, so that
        one mini-batch's noise does not decide.
      seed: of augmentation and pretext tasks.
      tick: called after each piece of work with what is being done, `count_ticks` times.
    """
    run, given = compile_programs(subject), (subject.state.variables, subject.state.pretext)
    batches = augment_all(run.augment, subject, rows, seed)
    layer = gradients.last_layer(subject.parts.network, subject.parts.augment.points)
    products, grams, along = {}, {}, {}
    for name, train in DEFINITIONS.items():
        halves: list[Tree] = [None, None]  # every other mini-batch
        for number, batch in enumerate(batches[skipped:]):
            of_batch, before = run.directions(train, *given, batch), halves[number % 2]
            halves[number % 2] = of_batch if before is None else jax.tree.map(jnp.add, before, of_batch)
            tick(f"gradients of the batch, {name}")
        along[name] = _means(halves, len(batches) - skipped, apart=train is True)
        grams[name] = np.asarray(run.gram(along[name]), np.float64)
        of_batches = []
        for batch in batches[:measured]:
            of_batches.append(run.forward(train, *given, batch, along[name]))
            tick(f"inner products, {name}")
        products[name] = np.concatenate(jax.device_get(of_batches), axis=2).astype(np.float64)
    own, chunk = {}, _chunk(run, given, batches[0], along["running"])
    for name, part, weight in (("whole", None, 2), ("last", layer, 1)):
        of_batches = []
        for batch in batches[:measured]:
            of_batches.append(jax.device_get(run.own(part, chunk, *given, batch, along["running"])))
            for _ in range(weight):
                tick("norms" if part is None else "estimate by the last layer")
        own[name] = jax.tree.map(lambda *a: np.concatenate(a, axis=-1).astype(np.float64), *of_batches)
    of_layer = run.gram({layer: along["running"][layer]})
    pick = lambda name, which: jax.tree.map(lambda leaf: leaf[which], along[name])  # noqa: E731
    ways = (pick("coupled", ORACLE), pick("running", ORACLE), pick("coupled", DEPLOYED))
    of_oracle = np.asarray(run.gram(gradients.stack(*ways)), np.float64)
    return _by_name(products, grams, own, np.asarray(of_layer, np.float64), of_oracle, rows[0].shape[1])


def _means(halves: Sequence[Tree], count: int, apart: bool) -> Tree:
    """The means over all mini-batches; `apart` also those of OF_HALVES over either half of them."""
    divide = lambda total, number: jax.tree.map(lambda leaf: leaf / number, total)  # noqa: E731
    one, other = halves[0], halves[1] if count > 1 else halves[0]
    whole = divide(jax.tree.map(jnp.add, one, other) if count > 1 else one, count)
    if not apart:
        return whole
    rows = jnp.array(OF_HALVES)
    means = divide(one, (count + 1) // 2), divide(other, max(count // 2, 1))
    return jax.tree.map(lambda all_of, *of: jnp.concatenate([all_of, *(h[rows] for h in of)]), whole, *means)


def _chunk(run: Programs, given: tuple[Variables, Tree], batch: AugmentedBatch, along: Tree) -> int:
    """Gradients at a time; those of the last layer alone need less."""
    lower = lambda chunk: run.own.lower(None, chunk, *given, batch, along)  # noqa: E731
    return choose_chunk(lower, len(batch.points[0]), memory_budget())


CLASS, ORACLE, TOTAL, DEPLOYED = range(4)
OF_HALVES = (ORACLE, DEPLOYED)  # whose means of either half of the pool follow: how sure are they?


def _by_name(
    products: dict[str, Float[np.ndarray, "2 _ n"]],
    grams: dict[str, Float[np.ndarray, "_ _"]],
    own: dict[str, gradients.Products],
    of_layer: Float[np.ndarray, "3 3"],
    of_oracle: Float[np.ndarray, "3 3"],
    batch: int,
) -> Agreements:
    """The scalars put into the formulas of `measures`, each row of the two domains by itself."""
    coupled, g = products["coupled"], grams["coupled"]
    running, h = own["whole"], grams["running"]
    s_class, s_oracle, s_total = (np.asarray(running.products)[:, d] for d in (CLASS, ORACLE, TOTAL))
    squared, last = np.asarray(running.squared), own["last"]
    each = lambda measure, *values: np.stack([measure(*(v[i] for v in values)) for i in range(2)])  # noqa: E731
    gain = functools.partial(
        measures.gain, class_oracle=h[CLASS, ORACLE], class_squared=h[CLASS, CLASS],
        oracle_squared=h[ORACLE, ORACLE],
    )  # fmt: skip
    without = functools.partial(
        measures.leave_one_out, total_oracle=h[TOTAL, ORACLE], total_squared=h[TOTAL, TOTAL],
        oracle_squared=h[ORACLE, ORACLE],
    )  # fmt: skip
    linear = functools.partial(
        measures.leave_one_out_first_order, total_oracle=g[TOTAL, ORACLE], total_squared=g[TOTAL, TOTAL],
        oracle_squared=g[ORACLE, ORACLE],
    )  # fmt: skip
    pretext_squared = max(h[TOTAL, TOTAL] - 2 * h[CLASS, TOTAL] + h[CLASS, CLASS], 0.0)  # of g_s = g - g_c
    cosines = {
        "cos_c": each(lambda p, q: measures.cosine(p, q, h[CLASS, CLASS]), s_class, squared),
        "cos_s": each(lambda p, q: measures.cosine(p, q, pretext_squared), s_total - s_class, squared),
        "cos_o": each(lambda p, q: measures.cosine(p, q, h[ORACLE, ORACLE]), s_oracle, squared),
    }
    found = {
        "gain": each(gain, s_oracle, s_class, squared),
        "dot_o": coupled[:, ORACLE],
        "dot_c": coupled[:, CLASS],
        **cosines,
        "loo": each(without, s_oracle / batch, s_total / batch, squared / batch**2),
        "loo1": each(linear, coupled[:, ORACLE] / batch, coupled[:, TOTAL] / batch),
    }
    estimate = each(
        lambda p, q: measures.cosine(p, q, of_layer[ORACLE, ORACLE]),
        np.asarray(last.products)[:, ORACLE], np.asarray(last.squared),
    )  # fmt: skip
    checks = {f"dot_o, {name}": p[:, ORACLE] for name, p in products.items()}
    checks |= {"dot_o, deployed": coupled[:, DEPLOYED], "size": np.sqrt(squared)}
    for place, half in enumerate(("one half", "other half")):
        first = DEPLOYED + 1 + place * len(OF_HALVES)
        checks |= {f"dot_o, {half}": coupled[:, first], f"dot_o, deployed, {half}": coupled[:, first + 1]}
    angle = lambda m, i, j: measures.cosine(m[i, j], m[i, i], m[j, j])  # noqa: E731
    angles = {
        "class and oracle": angle(g, CLASS, ORACLE),
        "oracle, halves": angle(g, DEPLOYED + 1, DEPLOYED + 1 + len(OF_HALVES)),
        "class and oracle, running": angle(h, CLASS, ORACLE),
        "oracle and deployed": angle(of_oracle, 0, 2),
        "oracle, running, and deployed": angle(of_oracle, 1, 2),
    }
    return Agreements(found, checks | {"cos_o": cosines["cos_o"], "cos_o, last layer": estimate}, angles)
