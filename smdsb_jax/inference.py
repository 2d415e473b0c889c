"""A trained run from Python: load it, classify clouds, score samples with a statistic."""

import functools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from smdsb_jax.augment import Taken, follow
from smdsb_jax.build import (
    abstract_state,
    build_network,
    build_parts,
    jit_at_precision,
    load_domain,
    load_target,
)
from smdsb_jax.config import Config, from_checkpoint
from smdsb_jax.datasets.domain import UNLABELLED, Split
from smdsb_jax.given import (
    at_given_points,
    given_clouds,
    of_equal_size,
    stored_cloud,
    stored_labels,
    stored_split,
)
from smdsb_jax.network import Network, loss_of_one
from smdsb_jax.pretext import build_view
from smdsb_jax.pretext_pass import losses_of_samples
from smdsb_jax.run import checkpoint
from smdsb_jax.run.evaluation import (
    Evaluated,
    as_evaluated,
    at_stored_points,
    eval_program,
    predict_split,
)
from smdsb_jax.saliency import measure_per_sample
from smdsb_jax.selection import checked_scores, score_samples
from smdsb_jax.state import Clouds, Sample, Variables
from smdsb_jax.statistics import Score, Statistic, find_statistic

AT_A_TIME = 16  # clouds in one call of a program, the last ones filled up: one program for any number


class Model(NamedTuple):
    """A checkpoint, ready to use."""

    config: Config
    classes: tuple[str, ...]
    network: Network
    variables: Variables
    stage: int
    step: int
    note: str = ""  # what a reader must know of the choice, as that a validator could not make it


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
      select_by: `last`, `source_val`, a validator that was recorded, `oracle` (chosen with target labels), or
        the number of a checkpoint folder; empty: the run's own `config.select_by`.
      stage: 1 or 2; None: the latest there is.
      allow: `package.module:name` of each encoder, statistic or other part from outside the library that the
        run may import. Only names given here are: a checkpoint alone runs no code.

    Raises:
      ValueError: no such run or checkpoint, or one that names code which is not allowed.
    """
    workdir = Path(workdir).expanduser()
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(f"{workdir} is not the workdir of a run: it has no checkpoints/.")
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        of_run = checkpoint.info(checkpointer).config["select_by"]  # its last word: it may be changed freely
        select_by = select_by or of_run
        by_number = select_by.isdigit()
        by_hand = checkpoint.Selected(int(select_by), "") if by_number else None
        total_step, note = by_hand or checkpoint.chosen(checkpointer, select_by, stage)
        found = checkpoint.info(checkpointer, total_step)
        config = from_checkpoint(found.config | {"select_by": of_run}, allow, workdir)
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        variables = checkpoint.restore_variables(checkpointer, total_step, sharding)
    network = build_network(config, len(found.classes))
    return Model(config, found.classes, network, variables, found.stage, found.step, note)


def predict(
    model: Model, clouds: Any, *, y_up: bool = False
) -> Float[np.ndarray, "*n_and_points classes"] | list[Float[np.ndarray, "_ classes"]]:
    """Class probabilities of clouds in any unit; each is centered, scaled and thinned as in training.

    (Not scaled where the run's data were not, as with `data.normalize=none`: give them in the same unit.)

    The answer of a cloud depends on the cloud alone: not on the others, nor on its place among them.

    Args:
      model: of a run.
      clouds: an array [p, C >= 3] of one cloud or [n, p, C >= 3] of several; a file of one or of several; or
        a list of arrays [p, C >= 3] and files of one each. The first three columns count. Clouds may have
        any numbers of points: they are filled up to `config.data.points` times a power of two, for each of
        which drawing the network's points is compiled; the network is compiled once.
      y_up: they have y up, not z: turn them.

    Returns:
      Of one cloud [classes], of several [n, classes], in the order of `model.classes`. Of a task with labels
      of points [points, classes] and a list of such: of every given point, as of the nearest one that the
      network got.

    Raises:
      ValueError: what is no cloud, by its number or its file; a file of several in a list.
    """
    size, per_point = model.config.data.points, model.network.task.per_point
    given, is_one = given_clouds(clouds, size, y_up)
    found = [np.zeros(0)] * len(given)
    step = eval_program(model.network, model.config)

    def draw_first(variables: Variables, clouds: Array) -> Evaluated:
        taken = taken_points(model, clouds)
        return step(variables, taken.points)._replace(rows=taken.rows)  # of these it takes all

    for rows, stored in of_equal_size([stored_cloud(cloud, size, scales(model)) for cloud in given]):
        logits = at_stored_points(predict_split(draw_first, model.variables, stored, AT_A_TIME), stored)
        for row, probability in zip(rows, np.asarray(jax.nn.softmax(logits, axis=-1)), strict=True):
            found[row] = at_given_points(given[row], probability) if per_point else probability
    if is_one or per_point:
        return found[0] if is_one else found
    return np.stack(found) if found else np.zeros((0, len(model.classes)), np.float32)


def samples(
    model: Model,
    clouds: Any,
    label: Any = None,
    seed: int = 0,
    *,
    y_up: bool = False,
    pretext: bool = False,
) -> Sample:
    """What a statistic sees of each cloud: its points, saliency, gradient, embedding, logits and loss.

    Args:
      model: of a run.
      clouds: one or several, as `predict` takes and prepares them.
      label: of each cloud (of each of its points, where the task has such labels), an index into
        `model.classes`; None, or UNLABELLED: what the network predicts.
      seed: of what a statistic draws at random.
      y_up: as for `predict`.
      pretext: with the pretext loss of each too, as of target clouds, in a view drawn from `seed`.

    Returns:
      Of one cloud its sample, which a statistic can be called with; of several their fields, [n, …].

    Raises:
      ValueError: as `predict`; no clouds at all; more or fewer labels than clouds; `pretext` of a run whose
        pretext task has no loss of single samples, or remembers what `load` does not restore.
    """
    size = model.config.data.points
    given, is_one = given_clouds(clouds, size, y_up)
    if not given:
        raise ValueError("samples: there are no clouds. Give one at least.")
    stored = [stored_cloud(cloud, size, scales(model)) for cloud in given]
    each = [UNLABELLED] * len(given) if label is None else [label] if is_one else list(label)
    labels = stored_labels(each, given, stored, len(model.classes))
    keys = jax.random.split(jax.random.key(seed), len(given))
    order, parts = [], []
    pretext_losses = pretext_program(model, "target") if pretext else None
    for rows, points in of_equal_size(stored):
        for part in _parts(model, Split(points, np.stack([labels[row] for row in rows]))):
            batch = measure(model, part.points, part.label, keys[rows[part.rows]])
            if pretext_losses is not None:
                key = jax.random.fold_in(jax.random.key(seed), len(parts))
                batch = batch._replace(pretext_loss=pretext_losses(part, key))
            parts.append(jax.tree.map(lambda leaf, valid=part.valid: leaf[:valid], batch))
            order.extend(rows[part.rows[: part.valid]])
    place = np.argsort(order)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[place[0] if is_one else place], *parts)


def measure(
    model: Model, points: Float[np.ndarray, "n p 3"], label: Int[np.ndarray, "n *points"], keys: jax.Array
) -> Sample:
    """The samples of clouds as the network gets them, under labels, with a key for each.

    In one program for all clouds: give many in parts.
    """
    program = _compiled(
        _measure, model.config.matmul_precision, model.network, float(model.config.saliency.alpha)
    )
    return program(model.variables, jnp.asarray(points, jnp.float32), jnp.asarray(label, jnp.int32), keys)


def pretext_program(model: Model, domain: str) -> Callable[["Part", jax.Array], Array]:
    """The compiled function of the pretext losses of a part, seen as clouds of this domain.

    Raises:
      ValueError: the run's pretext task has no loss of single samples, or remembers what `load` does not
        restore.
    """
    parts, task = build_parts(model.config, model.stage, len(model.classes)), model.config.pretext.name
    if parts.pretext.loss is None:
        raise ValueError(f"The pretext task {task!r} of stage {model.stage} has no loss of a single sample.")
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if jax.tree.leaves(abstract_state(parts, place).pretext):
        raise ValueError(
            f"The pretext task {task!r} remembers more than its network, which only smdsb analyze "
            "restores: score it there."
        )
    progress = jnp.asarray(model.step / parts.steps, jnp.float32)

    def of_part(points: Array, stored: Array, label: Array, variables: Variables, key: jax.Array) -> Array:
        view = build_view(Clouds(points, label), Clouds(stored), domain, progress)
        return losses_of_samples(parts, variables, (), view, key)

    program = jit_at_precision(model.config, of_part)
    return lambda part, key: program(part.points, part.stored, part.label, model.variables, key)


def apply_statistic(
    model: Model, statistic: str | Score | Statistic, batch: Sample, where: str = "the given clouds"
) -> Float[np.ndarray, " n"]:
    """Score what `samples` gave with a statistic: a name, `module:function` or a function.

    Raises:
      ValueError: an unknown name; one that needs one label per cloud where points have them, or pretext
        losses that the samples do not have; a function that raises, or whose scores are not one finite number
        per sample. Always one line that names the statistic; `where` says whose samples they are.
    """
    found = find_statistic(statistic)
    function = found.score
    name = statistic if isinstance(statistic, str) else getattr(function, "__name__", repr(function))
    if found.per_cloud and model.network.task.per_point:
        raise ValueError(f"The statistic {name} is of clouds that have one label each, not one per point.")
    if found.needs_pretext and batch.pretext_loss is None:
        raise ValueError(f"The statistic {name} needs pretext losses: take samples(…, pretext=True).")
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
    statistic: str | Score | Statistic = "skewness",
    domain: str | Split = "target",
    *,
    allow: Collection[str] = (),
) -> Float[np.ndarray, " n"]:
    """Score the training clouds of a domain, in stored order, by the points that an evaluation takes of them.

    Args:
      checkpoint: workdir of a run (as `load` takes it), or what `load` gave.
      statistic: a name, `module:function`, a function of one sample or a `Statistic` of one.
      domain: `source` (under its true labels); `target` or the name of another domain of the data set (under
        the network's own labels, as pseudo-labels are); or any `Split`, in any unit, z up (under its labels,
        and the network's own where it has none).
      allow: as for `load`; what `statistic` names is allowed too.

    Raises:
      ValueError: as `load` and `apply_statistic`; a domain that cannot be read or has further classes.
    """
    named = (statistic,) if isinstance(statistic, str) else ()
    model = checkpoint if isinstance(checkpoint, Model) else load(checkpoint, allow=(*allow, *named))
    if isinstance(domain, Split):
        split, where = stored_split(domain, model.config.data.points, scales(model)), "the given split"
    else:
        split, where = _labelled(model, domain)
    parts, pretext_losses = [], None
    if find_statistic(statistic).needs_pretext:
        pretext_losses = pretext_program(model, "source" if domain == "source" else "target")
    for part in _parts(model, split):
        # the first cloud's place is the seed of its part: random scores must not repeat themselves
        keys = jax.random.split(jax.random.key(part.rows[0]), AT_A_TIME)
        batch = measure(model, part.points, part.label, keys)
        if pretext_losses is not None:
            batch = batch._replace(pretext_loss=pretext_losses(part, jax.random.key(part.rows[0])))
        parts.append(apply_statistic(model, statistic, batch, where)[: part.valid])
    return np.concatenate(parts)


def scales(model: Model) -> bool:
    """Whether clouds are normalized first, as those that the network was trained on."""
    return model.config.data.get("normalize") != "none"


class Part(NamedTuple):
    """AT_A_TIME clouds as the network gets them; behind the valid ones the first is repeated."""

    rows: Int[np.ndarray, " size"]
    valid: int
    points: Float[np.ndarray, "size p 3"]
    label: Int[np.ndarray, "size *points"]
    stored: Float[np.ndarray, "size stored 3"]


def _parts(model: Model, split: Split) -> Iterator[Part]:
    """A split in parts. Who has no label gets the one that the network predicts."""
    count = len(split.label)
    for start in range(0, count, AT_A_TIME):
        rows = np.arange(start, start + AT_A_TIME)
        rows = np.where(rows < count, rows, start)
        stored = split.points[rows]
        taken = taken_points(model, stored)
        label = np.asarray(follow(split.label[rows], taken.rows))
        if (label == UNLABELLED).any():
            found = eval_program(model.network, model.config)(model.variables, jnp.asarray(stored))
            predicted = np.asarray(found.predictions.logits).argmax(axis=-1).astype(np.int32)
            label = label.reshape(label.shape + (1,) * (predicted.ndim - label.ndim))
            label = np.where(label == UNLABELLED, predicted, label)
        yield Part(rows, min(AT_A_TIME, count - start), np.asarray(taken.points), label, stored)


def taken_points(model: Model, stored: Float[np.ndarray, "n stored 3"] | Float[Array, "n stored 3"]) -> Taken:
    """The points of stored clouds, and their rows, that the model's network gets in inference."""
    data = model.config.data
    return _compiled(as_evaluated, model.config.matmul_precision, data.points, data.subsample)(stored)


def _labelled(model: Model, domain: str) -> tuple[Split, str]:
    """The training clouds of a domain under the labels that training knows (the target's, none); its name."""
    config, role = model.config.copy_and_resolve_references(), domain
    if domain not in ("source", "target"):
        config.data.target, role = domain, "target"
    if role == "source":
        found = load_domain(config, role)
        return found.train, f"{found.name} (source)"
    found = load_target(config, model.classes)
    unlabelled = np.full_like(found.train.label, UNLABELLED)
    return found.train._replace(label=unlabelled), f"{found.name} (target)"


@functools.cache
def _compiled(function: Callable[..., Any], precision: str, *bound: Any) -> Any:
    """Once for all calls with the same function, so that scoring part after part compiles nothing again."""
    return jax.jit(jax.default_matmul_precision(precision)(functools.partial(function, *bound)))


def _measure(
    network: Network, alpha: float, variables: Variables, points: Array, label: Array, keys: Array
) -> Sample:
    return measure_per_sample(functools.partial(loss_of_one, network, variables), points, label, alpha, keys)
