"""A trained run from Python: load it, classify clouds, score samples with a statistic."""

import functools
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax.augment import Taken, follow
from smdsb_jax.build import build_network, load_domain, load_target
from smdsb_jax.config import Config, from_checkpoint
from smdsb_jax.datasets.domain import Split, normalize, to_count
from smdsb_jax.datasets.read import checked_cloud, read_cloud
from smdsb_jax.network import Network, loss_of_one
from smdsb_jax.run import checkpoint
from smdsb_jax.run.evaluation import as_evaluated, eval_program, predict_split
from smdsb_jax.saliency import measure_per_sample
from smdsb_jax.sampling import padded_chunks
from smdsb_jax.selection import checked_scores, score_samples
from smdsb_jax.state import Sample, Variables
from smdsb_jax.statistics import Score, find_statistic

AT_A_TIME = 16  # clouds in one call of a program, the last ones filled up: one program for any number


class Model(NamedTuple):
    """A checkpoint, ready to use."""

    config: Config
    classes: tuple[str, ...]
    network: Network
    variables: Variables
    stage: int
    step: int


def load(
    workdir: str | Path,
    select_by: str = "",
    stage: int | None = None,
    *,
    allow: Collection[str] = (),
) -> Model:
    """The network of a run.

    Args:
      workdir: of the run.
      select_by: `last`, `source_val`, `oracle` (chosen with target labels), or the number of a checkpoint
        folder; empty: the run's own `config.select_by`.
      stage: 1 or 2; None: the latest there is.
      allow: `package.module:name` of each encoder, statistic or other part from outside the library that the
        run may import. Only names given here are: a checkpoint alone runs no code.

    Raises:
      ValueError: no such run or checkpoint, or one that names code which is not allowed.
    """
    if not (Path(workdir) / "checkpoints").is_dir():
        raise ValueError(f"{workdir} is not the workdir of a run: it has no checkpoints/.")
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        of_run = checkpoint.info(checkpointer).config["select_by"]  # its last word: it may be changed freely
        select_by = select_by or of_run
        by_number = select_by.isdigit()
        total_step = int(select_by) if by_number else checkpoint.select(checkpointer, select_by, stage)
        found = checkpoint.info(checkpointer, total_step)
        config = from_checkpoint(found.config | {"select_by": of_run}, allow, workdir)
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        variables = checkpoint.restore_variables(checkpointer, total_step, sharding)
    network = build_network(config, len(found.classes))
    return Model(config, found.classes, network, variables, found.stage, found.step)


def predict(model: Model, clouds: Any) -> Float[np.ndarray, "*n_and_points classes"]:
    """Class probabilities of clouds in any unit, z up; each is centered, scaled and thinned as in training.

    The answer of a cloud depends on the cloud alone: not on the others, nor on its place among them.

    Args:
      model: of a run.
      clouds: an array [p, C >= 3] or a file, of one cloud; an array [n, p, C >= 3]; or a list of arrays
        [p, C >= 3] and files. The first three columns count. Clouds may have any numbers of points: they
        are filled up to `config.data.points` times a power of two, with a program for each.

    Returns:
      Of one cloud [*points classes], of several [n, *points classes], in the order of `model.classes`.

    Raises:
      ValueError: what is no cloud, by its number or its file.
    """
    is_one = isinstance(clouds, str | Path) or getattr(clouds, "ndim", 3) == 2
    several: Any = [clouds] if is_one else clouds
    points = [stored_cloud(model, _coordinates_of(each, number)) for number, each in enumerate(several)]
    step = eval_program(model.network, model.config)
    found = [np.zeros(0)] * len(points)
    sizes = np.array([len(cloud) for cloud in points], int)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        stored = np.stack([points[row] for row in rows])
        logits = predict_split(step, model.variables, stored, AT_A_TIME).predictions.logits
        for row, probability in zip(rows, np.asarray(jax.nn.softmax(logits, axis=-1)), strict=True):
            found[row] = probability
    if is_one:
        return found[0]
    return np.stack(found) if found else np.zeros((0, len(model.classes)), np.float32)


def stored_cloud(model: Model, cloud: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "q 3"]:
    """A cloud in any unit as a data set of the run would store it, with `filled_up` points."""
    return to_count(normalize(cloud), filled_up(len(cloud), model.config.data.points))


def filled_up(count: int, points: int) -> int:
    """The least `points` times a power of two that is no less than `count`."""
    return points << max(0, math.ceil(math.log2(count / points)))


def _coordinates_of(cloud: Any, number: int) -> Float[np.ndarray, "p 3"]:
    if isinstance(cloud, str | Path):
        return read_cloud(Path(cloud))
    return checked_cloud(np.asarray(cloud), f"predict: cloud {number}", "Give arrays (points, 3) or files.")


def samples(
    model: Model, points: Float[np.ndarray, "n p 3"], label: Int[np.ndarray, "n *points"], seed: int = 0
) -> Sample:
    """What a statistic sees of each cloud: its saliency, gradient, embedding, logits and loss, [n …].

    In one program for all clouds: give many in parts.
    """
    keys = jax.random.split(jax.random.key(seed), len(points))
    program = _compiled(
        _measure, model.config.matmul_precision, model.network, float(model.config.saliency.alpha)
    )
    return program(model.variables, jnp.asarray(points, jnp.float32), jnp.asarray(label, jnp.int32), keys)


def apply_statistic(
    model: Model, statistic: str | Score, batch: Sample, where: str = "the given clouds"
) -> Float[np.ndarray, " n"]:
    """Score what `samples` gave with a statistic: a name, `module:function` or a function.

    Raises:
      ValueError: an unknown name; a function that raises, or whose scores are not one finite number per
        sample. Always one line that names the statistic; `where` says whose samples they are.
    """
    function = find_statistic(statistic).score if isinstance(statistic, str) else statistic
    name = statistic if isinstance(statistic, str) else getattr(statistic, "__name__", repr(statistic))
    try:
        scores = _compiled(score_samples, model.config.matmul_precision, function)(batch)
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith("The statistic"):
            raise
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"The statistic {name} raises {type(error).__name__}: {first} (It gets one smdsb_jax."
            "state.Sample and returns one float.)"
        ) from error
    return checked_scores(name, np.asarray(scores), where)


def score(
    checkpoint: str | Path | Model,
    statistic: str | Score = "skewness",
    domain: str | Split = "target",
    *,
    allow: Collection[str] = (),
) -> Float[np.ndarray, " n"]:
    """Score the training clouds of a domain, in stored order, by the points that an evaluation takes of them.

    Args:
      checkpoint: workdir of a run (as `load` takes it), or what `load` gave.
      statistic: a name, `module:function` or a function of one sample.
      domain: `source` (under its true labels); `target` or the name of another domain of the data set (under
        the network's own labels, as pseudo-labels are); or any `Split` (under its labels).
      allow: as for `load`; what `statistic` names is allowed too.

    Raises:
      ValueError: as `load` and `apply_statistic`; a domain that cannot be read or has further classes.
    """
    named = (statistic,) if isinstance(statistic, str) else ()
    model = checkpoint if isinstance(checkpoint, Model) else load(checkpoint, allow=(*allow, *named))
    split, where = (domain, "the given split") if isinstance(domain, Split) else _labelled(model, domain)
    parts = []
    for (chunk, valid), start in zip(
        padded_chunks(split.points, AT_A_TIME), range(0, len(split.label), AT_A_TIME), strict=True
    ):
        taken = taken_points(model, chunk)
        label = follow(_filled(split.label, start, AT_A_TIME), taken.rows)
        # the first cloud's place is the seed of its part: random scores must not repeat themselves
        batch = samples(model, np.asarray(taken.points), np.asarray(label), start)
        parts.append(apply_statistic(model, statistic, batch, where)[:valid])
    return np.concatenate(parts)


def taken_points(model: Model, stored: Float[np.ndarray, "n stored 3"]) -> Taken:
    """The points of stored clouds, and their rows, that the model's network gets in inference."""
    data = model.config.data
    return _compiled(as_evaluated, model.config.matmul_precision, data.points, data.subsample)(stored)


def _filled(label: Int[np.ndarray, "n *points"], start: int, size: int) -> Int[np.ndarray, "size *points"]:
    """The labels of a chunk, the last one filled as `padded_chunks` fills it."""
    part = label[start : start + size]
    return np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])


def _labelled(model: Model, domain: str) -> tuple[Split, str]:
    """The training clouds of a domain under the labels that training would know, and their name."""
    config, role = model.config.copy_and_resolve_references(), domain
    if domain not in ("source", "target"):
        config.data.target, role = domain, "target"
    if role == "source":
        found = load_domain(config, role)
        return found.train, f"{found.name} (source)"
    found = load_target(config, model.classes)
    step = eval_program(model.network, model.config)
    logits = predict_split(step, model.variables, found.train.points, AT_A_TIME).predictions.logits
    return found.train._replace(label=logits.argmax(axis=-1).astype(np.int32)), f"{found.name} (target)"


@functools.cache
def _compiled(function: Callable[..., Any], precision: str, *bound: Any) -> Any:
    """Once for all calls with the same function, so that scoring part after part compiles nothing again."""
    return jax.jit(jax.default_matmul_precision(precision)(functools.partial(function, *bound)))


def _measure(
    network: Network, alpha: float, variables: Variables, points: Array, label: Array, keys: Array
) -> Sample:
    return measure_per_sample(functools.partial(loss_of_one, network, variables), points, label, alpha, keys)
