"""A run whose checkpoints were removed, by what is left of it: its configuration and its evaluations."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from smdsb_jax.config import modernize
from smdsb_jax.run.checkpoint import with_tuples
from smdsb_jax.run.records import CONFIG, RECORDS, read_config, read_records
from smdsb_jax.scores import ROLES, VALIDATOR, names_of


class Evaluation(NamedTuple):
    """One of those that a run has recorded."""

    stage: int
    step: int  # within the stage
    scores: Mapping[str, float]


class Recorded(NamedTuple):
    """A run, without its checkpoints."""

    config: dict[str, Any]  # with the fields of this revision, whatever wrote it
    evaluations: list[Evaluation]  # at least one, oldest first


def read_recorded(workdir: Path) -> Recorded | None:
    """What `config.json` and `metrics.jsonl` tell of a run; None where it has checkpoints or no evaluation.

    Raises:
      ValueError: the configuration cannot be read; names the file.
    """
    records = workdir / RECORDS
    if (workdir / "checkpoints").exists() or not (records.exists() and (workdir / CONFIG).exists()):
        return None
    saved = read_config(workdir)
    before = {1: 0, 2: saved["stage1.steps"] if 1 in saved["stages"] else 0}  # steps, of each stage
    config = modernize(with_tuples(saved))
    found = []
    for record in read_records(records):
        stage, scores = record["stage"], {name: record[name] for name in names_of(record)}
        evaluated = any(name.partition("/")[0] in (*ROLES, VALIDATOR) for name in scores)
        if evaluated and stage in before:
            found.append(Evaluation(stage, record["step"] - before[stage], scores))
    return Recorded(config, found) if found else None
