"""Dropping points by a map: what a network makes of clouds as the points that the map names are taken away.

The remaining points are gathered: every encoder sees a smaller cloud and nothing else, in a compiled program
for each number of points.   [Zheng et al., ICCV 2019, arXiv:1812.01687]
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from smdsb_jax.datasets.domain import Split
from smdsb_jax.inference import AT_A_TIME, Model, apply_statistic, measure, taken_points
from smdsb_jax.layers.pooled_dense import PooledDense, max_over_points
from smdsb_jax.network import Network, predict
from smdsb_jax.state import Variables

HIGHEST, LOWEST, CRITICAL, RANDOM = "highest saliency", "lowest saliency", "critical points", "random"
Clouds = Float[np.ndarray, "n points 3"]


class Outcome(NamedTuple):
    """What a network makes of clouds under their labels."""

    loss: Float[np.ndarray, "*rounds n"]
    correct: Bool[np.ndarray, "*rounds n"]


# (remaining points, round) → what the network makes of them, and of which points the largest are to go
Probe: TypeAlias = Callable[[Clouds, int], tuple[Outcome, Num[np.ndarray, "n points"]]]


def check_dropping(points: int, count: int, rounds: int) -> None:
    """Refuse to drop none or all points.

    Raises:
      ValueError: `count` or `rounds` is below 1, or together they leave no point.
    """
    if count < 1 or rounds < 1 or count * rounds >= points:
        raise ValueError(
            f"{rounds} rounds of {count} points each cannot be dropped of clouds of {points}: at least one "
            "must go, and one remain. Choose another number of points or rounds."
        )


def drop_in_rounds(probe: Probe, points: Clouds, count: int, rounds: int) -> Iterator[tuple[Clouds, Outcome]]:
    """The whole clouds, those without `count` points, without twice as many, …, and what is made of them.

    Args:
      probe: is called in each round, so that a map is of what remains.
      points: of clouds.
      count: dropped in each round; the rest keep their order.
      rounds: how many.

    Raises:
      ValueError: as `check_dropping`.
    """
    check_dropping(points.shape[1], count, rounds)
    value = np.zeros(points.shape[:2])
    for number in range(rounds + 1):
        if number:
            rows = np.argsort(value, axis=1, kind="stable")[:, : points.shape[1] - count]
            points = np.take_along_axis(points, np.sort(rows, axis=1)[:, :, None], axis=1)
        outcome, value = probe(points, number)
        yield points, outcome


def by_saliency(model: Model, label: Int[np.ndarray, " n"], sign: int) -> Probe:
    """The points of largest saliency under the label first; with sign -1 those of smallest."""
    keys = jax.random.split(jax.random.key(0), len(label))

    def probe(points: Clouds, number: int) -> tuple[Outcome, np.ndarray]:
        del number
        sample = jax.device_get(measure(model, points, label, keys)._replace(key=()))
        return Outcome(sample.loss, sample.logits.argmax(axis=-1) == label), sign * sample.saliency

    return probe


def at_random(model: Model, label: Int[np.ndarray, " n"], *seed: int) -> Probe:
    """Any points first, drawn by `seed`."""

    def probe(points: Clouds, number: int) -> tuple[Outcome, np.ndarray]:
        value = np.random.default_rng((*seed, number)).random(points.shape[:2])
        return _evaluate(model, points, label)[0], value

    return probe


def by_channels_won(model: Model, label: Int[np.ndarray, " n"]) -> Probe:
    """Critical points first: those that are the maximum in most channels of the embedding.

    [Qi et al., arXiv:1612.00593, 5.3; `critical_drop.py` of Zheng et al.]
    """

    def probe(points: Clouds, number: int) -> tuple[Outcome, np.ndarray]:
        del number
        return _evaluate(model, points, label)

    return probe


def has_critical_points(model: Model) -> bool:
    """Whether the encoder's embedding is a maximum over points."""
    points = jax.ShapeDtypeStruct((1, model.config.data.points, 3), jnp.float32)
    label = jax.ShapeDtypeStruct((1,), jnp.int32)
    evaluate = functools.partial(evaluate_and_count, model.network)
    return jax.eval_shape(evaluate, model.variables, points, label)[2] is not None


def _evaluate(model: Model, points: Clouds, label: Int[np.ndarray, " n"]) -> tuple[Outcome, Any]:
    program = _program(model.network, model.config.matmul_precision)
    *outcome, won = jax.device_get(program(model.variables, points, label))
    return Outcome(*outcome), won


@functools.cache
def _program(network: Network, precision: str) -> Callable[..., Any]:
    evaluate = functools.partial(evaluate_and_count, network)
    return jax.jit(jax.default_matmul_precision(precision)(evaluate))


def evaluate_and_count(
    network: Network, variables: Variables, points: Float[Array, "n points 3"], label: Int[Array, " n"]
) -> tuple[Float[Array, " n"], Bool[Array, " n"], Int[Array, "n points"] | None]:
    """Loss and correctness in inference mode, and in how many channels of the embedding each point wins.

    The latter is None where the embedding is no maximum over points. A channel that ReLU has cut has no
    winner.
    """
    pools: list[tuple[Array, Array]] = []

    def record(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        if isinstance(context.module, PooledDense) and context.method_name == "__call__":
            pools.append((output, _channels_won(context.module, args[0], output)))
        return output

    with nn.intercept_methods(record):
        output, features, _ = predict(network, variables, points)
    won = next((won for pooled, won in pools if pooled is features.embedding), None)
    correct = jnp.argmax(network.task.logits(output), axis=-1) == label
    return network.task.loss(output, label), correct, won


def _channels_won(
    module: PooledDense, x: Float[Array, "n points c"], output: Float[Array, "n d"]
) -> Int[Array, "n points"]:
    """Of each point: how many channels of the layer's output are its own."""
    params = module.variables["params"]
    columns = params["dense"]["kernel"].T
    if module.use_norm:
        columns = jnp.where(params["norm"]["scale"] < 0, -1, 1)[:, None] * columns
    _, winner = jax.vmap(max_over_points, in_axes=(0, None))(x, columns)
    count = lambda rows, alive: jnp.zeros(x.shape[1], jnp.int32).at[rows].add(alive)  # noqa: E731
    return jax.vmap(count)(winner, (output != 0).astype(jnp.int32))


class Dropped(NamedTuple):
    """What becomes of the clouds of a split."""

    outcomes: dict[str, list[Outcome]]  # by kind, [rounds + 1, n] each; of RANDOM one per seed
    skewness: Float[np.ndarray, " n"]  # of the whole clouds' maps


def drop_points(model: Model, split: Split, count: int, rounds: int, seeds: int) -> Dropped:
    """Each kind of dropping, on all clouds of a split under its labels, in inference mode.

    Args:
      model: of a run; its network gets the same points of a cloud as in an evaluation, then fewer.
      split: clouds with a label each.
      count: points dropped in each round.
      rounds: how many.
      seeds: of dropping at random.

    Raises:
      ValueError: as `check_dropping`; an encoder that cannot do with so few points.
    """
    check_dropping(model.config.data.points, count, rounds)
    check = getattr(model.network.encoder, "check", None)
    if check is not None:
        check(model.config.data.points - count * rounds)
    critical, clouds = has_critical_points(model), len(split.label)
    parts: list[dict[str, list[Outcome]]] = []
    skewness = []
    for start in range(0, clouds, AT_A_TIME):
        rows = np.minimum(np.arange(start, start + AT_A_TIME), clouds - 1)  # one shape, the last ones repeat
        valid = min(AT_A_TIME, clouds - start)
        points = np.asarray(taken_points(model, split.points[rows]).points)
        label = split.label[rows]
        probes = {HIGHEST: [by_saliency(model, label, 1)], LOWEST: [by_saliency(model, label, -1)]}
        if critical:
            probes[CRITICAL] = [by_channels_won(model, label)]
        probes[RANDOM] = [at_random(model, label, seed, start) for seed in range(seeds)]
        parts.append(
            {
                kind: [_in_rounds(probe, points, count, rounds, valid) for probe in of_kind]
                for kind, of_kind in probes.items()
            }
        )
        sample = measure(model, points, label, jax.random.split(jax.random.key(0), AT_A_TIME))
        skewness.append(apply_statistic(model, "skewness", sample)[:valid])
    together = lambda *arrays: np.concatenate(arrays, axis=-1)  # noqa: E731
    return Dropped(jax.tree.map(together, *parts), np.concatenate(skewness))


def _in_rounds(probe: Probe, points: Clouds, count: int, rounds: int, valid: int) -> Outcome:
    found = [outcome for _, outcome in drop_in_rounds(probe, points, count, rounds)]
    return Outcome(*(np.stack(field)[:, :valid] for field in zip(*found, strict=True)))
