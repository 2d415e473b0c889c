"""Checkpoints of a run; the only file that knows Orbax.

Orbax stores arrays without checksums that it verifies: a flipped bit comes back as another weight. So `save`
keeps one of every array, and one of what it says about them, which are verified whenever they are read.
"""

import contextlib
import functools
import hashlib
import json
import math
import os
import re
import traceback
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as orbax  # noqa: F401 - v1 needs its parent loaded
from orbax.checkpoint import v1 as ocp

from smdsb_jax.config import modernize
from smdsb_jax.pseudo_labels import PseudoLabels
from smdsb_jax.run.records import RECORDS, read_records
from smdsb_jax.scores import SELECT_BY, VALIDATOR, choice_of, choose, collapsed, value_of
from smdsb_jax.state import TrainState, Tree, Variables

Checkpointer: TypeAlias = ocp.training.Checkpointer
Saving: TypeAlias = Any  # an asynchronous response of Orbax


# 2 since a pretext task's preparation and loss have keys of their own
DRAWS = 2


class Info(NamedTuple):
    """What a checkpoint says of itself, without its arrays."""

    total_step: int  # over both stages; the folder's name
    stage: int
    step: int  # within the stage
    metrics: Mapping[str, float]
    config: dict[str, Any]  # with the fields of this revision, whatever wrote it
    classes: tuple[str, ...]
    draws: int  # the revision of what a step draws, of DRAWS
    unrecorded: tuple[dict[str, float], ...]  # metrics of the last steps, which no record has yet
    data: Mapping[str, Any]  # `datasets.fingerprint` of the clouds; empty: of an earlier revision


class Restored(NamedTuple):
    """A run's state as it was saved."""

    state: TrainState
    pseudo_labels: PseudoLabels | None


@contextlib.contextmanager
def open_checkpoints(
    workdir: str | Path, keep: int | None = None, select_by: str = "last"
) -> Iterator[Checkpointer]:
    """The checkpoints of a run, written asynchronously; on leaving, what is being written is completed.

    Kept are the `keep` latest, the last one of stage 1, and for each stage the best by each of `SELECT_BY`
    and by `select_by`. None: only to read; nothing is removed, for the run may be going on.
    """
    policies = ocp.training.preservation_policies
    ranks: list[Callable[[Any], Any]] = [lambda m: (m["stage"] == 1, m["step"])]
    scores = [score for name in {*SELECT_BY, select_by} if (score := choice_of(name).score)]
    ranks += [functools.partial(_rank, stage, score) for stage in (1, 2) for score in scores]
    best = [policies.BestN(get_metric_fn=rank, n=1) for rank in ranks]
    # Orbax's own classes do not satisfy its protocols' static types
    retention: Any = policies.AnyPreservationPolicy([policies.LatestN(keep), *best])
    trains = keep is not None
    folder = Path(workdir).resolve() / "checkpoints"
    # of arrays that every device has, each device would slice off and write a part: a program for every shape
    context = ocp.Context()
    context.array.saving.use_replica_parallel = False
    when: Any = ocp.training.save_decision_policies.PreemptionCheckpointingPolicy()  # the loop says `force`
    try:
        checkpointer = ocp.training.Checkpointer(
            str(folder),
            save_decision_policy=when,
            preservation_policy=retention if trains else None,
            context=context,
            cleanup_tmp_directories=trains,  # of an interrupted write, unless another process is writing
        )
    except (ValueError, KeyError, TypeError) as error:  # it reads what each says of itself, and its scores
        for one in _folders(folder):
            with _readable(one):
                ocp.checkpointables_metadata(str(one))
                json.loads((one / "metrics" / "metrics").read_bytes())
        raise ValueError(f"{folder}: cannot be opened ({error}).") from error
    with _written(folder), checkpointer:
        for found in checkpointer.checkpoints:
            if not {"stage", "step"} <= set(found.metrics or ()):
                raise _unreadable(folder / str(found.step), "damaged: its scores have no stage")
        yield checkpointer


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    """What the writing threads raise becomes one line that names the folder and the remedy."""
    try:
        yield
    except TimeoutError as error:
        if not _raised_by_orbax(error):
            raise
        raise OSError(
            f"{folder}: a checkpoint was not written in time. Does the disk hang, or has the clock been "
            "changed? The same command resumes from the last whole one."
        ) from error
    except Exception as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))  # tensorstore has it in words alone
        own = isinstance(error, OSError) and (
            _raised_by_orbax(error) if error.filename is None else str(error.filename).startswith(str(folder))
        )
        number = int(code[1]) if code else getattr(error, "errno", None) if own else None
        if number is None:
            raise
        raise OSError(
            f"{folder}: a checkpoint cannot be written ({os.strerror(number)}). Mend that; the same command "
            "then resumes from the last whole one."
        ) from error


def _raised_by_orbax(error: BaseException) -> bool:
    """A stream's error names no file: is it of a checkpoint, or of what the run prints elsewhere?"""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(str(frame.f_globals.get("__name__")).startswith("orbax.") for frame in frames)


def _rank(stage: int, score: str, metrics: Mapping[str, Any]) -> tuple:
    """Best first by a score within the stage; of equals the earlier, as a strict improvement selects."""
    found = value_of(metrics, score)
    out = found is None or (score.startswith(f"{VALIDATOR}/") and collapsed(metrics))
    return metrics["stage"] == stage, -math.inf if found is None or out else found[1], -metrics["step"]


def save(
    checkpointer: Checkpointer,
    total_step: int,
    stage: int,
    state: TrainState,
    pseudo_labels: PseudoLabels | None,
    metrics: Mapping[str, float],
    config: dict[str, Any],
    classes: Sequence[str],
    unrecorded: Sequence[Mapping[str, Any]] = (),
    data: Mapping[str, Any] | None = None,
) -> Saving | None:
    """Start writing a checkpoint; a step already saved is left as it is (None).

    Call `result()` of what is returned, at the latest before the next one: it waits for the end of the
    writing, raises what went wrong and gives back the thread and the descriptors that Orbax holds for it.
    """
    if any(c.step == total_step for c in checkpointer.checkpoints):
        return None
    step = int(state.step)
    items: dict[str, Tree] = {"variables": state.variables, "training": _training(state)}
    if pseudo_labels is not None:
        items["pseudo_labels"] = pseudo_labels._asdict()
    scores = {"stage": stage, "step": step, **metrics}
    about: dict[str, Any] = {"stage": stage, "step": step, "config": config, "classes": list(classes)}
    about |= {"draws": DRAWS, "unrecorded": [{k: float(v) for k, v in of.items()} for of in unrecorded]}
    about["data"] = dict(data or {})
    about["arrays"] = _checksums(items)  # now: the next step donates them
    return checkpointer.save_checkpointables_async(
        total_step,
        items,
        force=True,
        metrics=scores,
        custom_metadata=about | {"checksum": _checksum_of_json(about, scores)},
    )


def _checksums(items: Mapping[str, Tree]) -> dict[str, str]:
    """SHA-256 of every array's type, shape and values by its path, whatever the devices that it is on."""
    leaves = jax.tree_util.tree_leaves_with_path(dict(items))
    values = jax.device_get([_numbers(leaf) for _, leaf in leaves])
    found = {}
    for (path, _), value in zip(leaves, map(np.ascontiguousarray, values), strict=True):
        digest = hashlib.sha256(f"{value.dtype} {value.shape}".encode())
        digest.update(value.reshape(-1).view(np.uint8).data)
        found[_plain(path)] = digest.hexdigest()
    return found


def _numbers(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _checksum_of_json(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _training(state: TrainState) -> Tree:
    # A tuple of what may be empty would lose its place in the tree; a dict keeps its keys.
    tree = {"step": state.step, "key": state.key, "opt_state": state.opt_state}
    return tree | {
        k: v for k, v in (("pretext", state.pretext), ("combine", state.combine)) if jax.tree.leaves(v)
    }


def info(checkpointer: Checkpointer, total_step: int | None = None) -> Info:
    """What the checkpoint of `total_step` (None: the latest) says of itself.

    Raises:
      ValueError: there is none; the message lists those there are.
    """
    known = [c.step for c in checkpointer.checkpoints]
    if not known or (total_step is not None and total_step not in known):
        what = "any step" if total_step is None else f"step {total_step}"
        there = ", ".join(map(str, known)) or "none"
        raise ValueError(f"{checkpointer.directory}: no checkpoint of {what}. There are: {there}.")
    step = known[-1] if total_step is None else total_step
    own, metrics = _about(checkpointer, step)
    config = modernize(with_tuples(own["config"]))
    return Info(
        step, own["stage"], own["step"], metrics, config, tuple(own["classes"]), own.get("draws", 1),
        tuple(own.get("unrecorded", ())), own.get("data", {}),
    )  # fmt: skip


def with_tuples(value: Any) -> Any:
    """JSON has no tuples; a configuration has no lists."""
    if isinstance(value, dict):
        return {name: with_tuples(inner) for name, inner in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


class Selected(NamedTuple):
    """A checkpoint that was chosen."""

    total_step: int
    note: str  # of `scores.Chosen`


def select(checkpointer: Checkpointer, select_by: str, stage: int | None = None) -> int:
    """The total step of a stage's checkpoint, as `chosen` finds it."""
    return chosen(checkpointer, select_by, stage).total_step


def chosen(checkpointer: Checkpointer, select_by: str, stage: int | None = None) -> Selected:
    """A stage's checkpoint by a way of choosing.

    Args:
      checkpointer: an open run.
      select_by: of `SELECT_BY`, `last`, `source_val` or `oracle`, or a validator that was recorded.
      stage: 1 or 2; None: the latest there is.

    Raises:
      ValueError: no such choice, no checkpoint of the stage that has its score, or the best by a validator
        was not kept.
    """
    found: dict[int, Any] = {c.step: c.metrics or {} for c in checkpointer.checkpoints}
    validators = dict.fromkeys(
        name.partition("/")[2] for m in found.values() for name in m if name.startswith(f"{VALIDATOR}/")
    )
    known = (*SELECT_BY, *validators)
    if select_by not in known:
        raise ValueError(f"checkpoint {select_by!r} is not known: one of {', '.join(known)}, or a step.")
    stage = max((m["stage"] for m in found.values()), default=None) if stage is None else stage
    of_stage = {step: m for step, m in found.items() if m["stage"] == stage}
    if select_by in validators and of_stage:
        of_stage = _recorded(checkpointer, stage, max(of_stage)) | of_stage
    steps = sorted(of_stage)
    found_best = choose([of_stage[step] for step in steps], select_by)
    if found_best is None:
        what = f" with a score {choice_of(select_by).score}" if of_stage else ""
        raise ValueError(f"{checkpointer.directory}: no checkpoint of stage {stage or 1}{what}.")
    best, note = steps[found_best.index], found_best.note
    if best not in found:
        raise ValueError(
            f"{checkpointer.directory}: checkpoint {best}, the best of stage {stage} by {select_by}, was not "
            f"kept. Train with --config.select_by={select_by}, or take {', '.join(SELECT_BY)}."
        )
    return Selected(best, note)


def _recorded(checkpointer: Checkpointer, stage: int | None, until: int) -> dict[int, dict[str, Any]]:
    """The evaluations of a stage that the run's records have, also those whose checkpoints are gone."""
    path = Path(checkpointer.directory).parent / RECORDS
    records = read_records(path) if path.exists() else []
    return {
        r["step"]: r for r in records if r["stage"] == stage and r["step"] <= until and VALIDATOR in _kinds(r)
    }


def _kinds(record: Mapping[str, Any]) -> set[str]:
    return {name.partition("/")[0] for name in record}


def restore(
    checkpointer: Checkpointer, total_step: int, abstract: TrainState, labels: tuple[int, ...] | None
) -> Restored:
    """The state and pseudo-labels of a checkpoint.

    Args:
      checkpointer: an open run.
      total_step: which one.
      abstract: a TrainState of `jax.ShapeDtypeStruct`, with shardings.
      labels: the shape of the target's labels, where the checkpoint has pseudo-labels.

    Raises:
      ValueError: other parameters than `abstract`, or an unreadable file; names the path and the remedy.
    """
    wanted: dict[str, Tree] = {"variables": abstract.variables, "training": _training(abstract)}
    if labels is not None:
        place = abstract.step.sharding
        wanted["pseudo_labels"] = {
            name: jax.ShapeDtypeStruct(labels, dtype, sharding=place) for name, dtype in _LABEL_DTYPES.items()
        }
    found = _load(checkpointer, total_step, wanted)
    training = found["training"]
    state = abstract.replace(
        step=training["step"],
        key=training["key"],
        variables=found["variables"],
        opt_state=training["opt_state"],
        pretext=training.get("pretext", abstract.pretext),
        combine=training.get("combine", abstract.combine),
    )
    return Restored(state, PseudoLabels(**found["pseudo_labels"]) if labels is not None else None)


_LABEL_DTYPES = {"label": "int32", "weight": "float32", "confidence": "float32"}


def restore_variables(
    checkpointer: Checkpointer, total_step: int, sharding: jax.sharding.Sharding
) -> Variables:
    """Parameters and batch statistics alone, shaped as they were saved."""
    saved = _description(checkpointer, total_step, ["variables"])["variables"]
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(tuple(leaf.shape), leaf.dtype, sharding=sharding), dict(saved)
    )
    return _load(checkpointer, total_step, {"variables": abstract})["variables"]


def _load(checkpointer: Checkpointer, total_step: int, wanted: dict[str, Tree]) -> dict[str, Tree]:
    folder = _folder(checkpointer, total_step)
    checksums = _about(checkpointer, total_step)[0].get("arrays")
    description = _description(checkpointer, total_step, wanted)
    gone = {path.partition("/")[0] for path in checksums or ()} - description.keys()
    if gone:
        raise _unreadable(folder, f"damaged: {', '.join(sorted(gone))} is gone")
    differing = _differences(description, wanted)
    if differing:
        raise ValueError(
            f"{folder}: holds other arrays than this configuration has: {'; '.join(differing[:5])}"
            f"{' …' if len(differing) > 5 else ''}. Take the configuration of that run, or another --workdir."
        )
    with _readable(folder):
        loaded = checkpointer.load_checkpointables(total_step, wanted)
    if checksums is not None:  # checkpoints of earlier revisions have none
        damaged = [path for path, found in _checksums(loaded).items() if checksums.get(path) != found]
        if damaged:
            more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
            raise _unreadable(folder, f"damaged: {', '.join(damaged[:3])}{more}")
    return loaded


def _about(checkpointer: Checkpointer, total_step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `save` noted of a checkpoint, and its scores; both verified."""
    folder, found = _folder(checkpointer, total_step), _metadata(checkpointer, total_step)
    with _readable(folder):
        about, scores = dict(found.custom_metadata or {}), dict(found.metrics or {})
    checksum = about.pop("checksum", None)
    earlier = {"stage", "step", "config", "classes"} <= about.keys() and "arrays" not in about
    if not (earlier and checksum is None) and checksum != _checksum_of_json(about, scores):
        raise _unreadable(folder, "damaged: its scores, or what it says of itself")
    return about, scores


def _description(checkpointer: Checkpointer, total_step: int, names: Iterable[str]) -> Mapping[str, Any]:
    """Shapes and types of the arrays, by item."""
    found: Mapping[str, Any] = _metadata(checkpointer, total_step).metadata
    lost = [name for name in names if name in found and found[name] is None]  # Orbax has logged why
    if lost:
        raise _unreadable(_folder(checkpointer, total_step), f"damaged: the files of {', '.join(lost)}")
    return found


def _metadata(checkpointer: Checkpointer, total_step: int) -> Any:
    """What Orbax says of a checkpoint. Read once while the run is open: Orbax opens every item for it."""
    read = _READ.setdefault(checkpointer, {})
    if total_step not in read:
        with _readable(_folder(checkpointer, total_step)):
            read[total_step] = checkpointer.checkpointables_metadata(total_step)
    return read[total_step]


_READ: weakref.WeakKeyDictionary[Checkpointer, dict[int, Any]] = weakref.WeakKeyDictionary()


def _folder(checkpointer: Checkpointer, total_step: int) -> Path:
    return Path(checkpointer.directory) / str(total_step)


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Whatever is raised within becomes one line that names the checkpoint and the remedy."""
    try:
        yield
    except Exception as error:  # Orbax raises many kinds, the cause deep inside
        cause: BaseException = error
        while deeper := cause.__cause__ or cause.__context__:
            cause = deeper
        line = f"{type(cause).__name__}: {(str(cause).splitlines() or [''])[0][:200]}"
        raise _unreadable(folder, line) from error


def _unreadable(folder: Path, why: str) -> ValueError:
    steps = [int(path.name) for path in _folders(folder.parent)]
    before = max((step for step in steps if step < int(folder.name)), default=None)
    then = "the run then begins anew"
    if max(steps, default=0) > int(folder.name):
        then = "the run then resumes from the latest"
    elif before is not None:
        then = f"the run then resumes from the one before it, as with smdsb train --from_step={before}"
    return ValueError(f"{folder}: cannot be read ({why}). Delete this folder; {then}.")


def _folders(checkpoints: Path) -> list[Path]:
    """Those named like checkpoints, oldest first; also damaged ones, and what is none."""
    found = checkpoints.iterdir() if checkpoints.is_dir() else ()
    return sorted((path for path in found if path.name.isdigit()), key=lambda path: int(path.name))


def set_aside(workdir: Path, from_step: int) -> dict[Path, Path]:
    """Move the checkpoints after `from_step` to `set_aside/`, so that the run goes on from that one.

    Returns:
      Where they were → where they are now; none is deleted.

    Raises:
      ValueError: there is no such checkpoint.
    """
    folder = workdir / "checkpoints" / str(from_step)
    known = _folders(folder.parent)
    if folder not in known:
        there = ", ".join(path.name for path in known) or "none"
        raise ValueError(f"--from_step={from_step}: {folder} does not exist. There are: {there}.")
    moved = {}
    for path in known[known.index(folder) + 1 :]:
        aside = workdir / "set_aside" / path.name
        number = 1
        while aside.exists():
            number += 1
            aside = aside.with_name(f"{path.name}.{number}")
        aside.parent.mkdir(exist_ok=True)
        moved[path] = path.rename(aside)
    return moved


def put_back(moved: Mapping[Path, Path]) -> None:
    """Undo `set_aside`, whose result this takes."""
    for path, aside in moved.items():
        aside.rename(path)
    for folder in {aside.parent for aside in moved.values()}:
        with contextlib.suppress(OSError):  # it holds others
            folder.rmdir()


def _differences(saved: Mapping[str, Any], wanted: Mapping[str, Tree]) -> list[str]:
    """Leaves whose presence, type or shape differs, as one line each."""

    def shapes(tree: Any) -> dict[str, str]:
        leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: hasattr(leaf, "shape"))
        found = {
            _plain(path): f"{leaf.dtype} {tuple(leaf.shape)}"
            for path, leaf in leaves
            if hasattr(leaf, "shape")
        }
        return {path: shape for path, shape in found.items() if path != "key"}  # saved as its numbers

    lines = []
    for name, tree in wanted.items():
        if name not in saved:
            lines.append(f"{name} is missing")
            continue
        old, new = shapes(saved[name]), shapes(tree)
        lines += [
            f"{name}/{path} is {old.get(path, 'missing')} there, {new.get(path, 'absent')} here"
            for path in sorted(old.keys() | new.keys())
            if old.get(path) != new.get(path)
        ]
    return lines


def _plain(path: tuple[Any, ...]) -> str:
    """One spelling for dict keys, attributes and positions: Orbax saves tuples and fields as dicts."""
    return "/".join(str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p)))) for p in path)
