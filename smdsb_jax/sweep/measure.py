"""What a finished run adds to a table: numbers in %, by row, stage and choice of the checkpoint."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from smdsb_jax.analysis.agreement import saliency_agreement
from smdsb_jax.build import load_domain
from smdsb_jax.inference import load
from smdsb_jax.report.summary import selected_rows
from smdsb_jax.scores import SELECT_BY, value_of

Values = dict[tuple[str, int, str], list[float]]  # (row, stage, select_by) → numbers of one run, in %


class Measure(NamedTuple):
    """A kind of number that a table can hold."""

    title: str
    of_run: Callable[[str, Path, Collection[str]], Values]  # (row, the run's folder, allow as for `load`)
    choices: Mapping[str, str]  # of scores.SELECT_BY → title
    own_rows: bool = False  # it names its rows, and has no choice of a headline


def headlines(row: str, workdir: Path, _: Collection[str] = ()) -> Values:
    """The headline on the target's test of each stage, for every way of choosing its checkpoint."""
    found = {(row, r.stage, r.select_by): value_of(r.scores, "target_test") for r in selected_rows(workdir)}
    return {cell: [100 * score[1]] for cell, score in found.items() if score is not None}


def agreement(_: str, workdir: Path, allow: Collection[str] = ()) -> Values:
    """Of the two saliency modes by the network at the end of stage 1, one number per source mini-batch."""
    model = load(workdir, "last", stage=1, allow=allow)
    found = saliency_agreement(model, load_domain(model.config, "source").train)
    return {
        ("kept by both saliency modes", 1, "last"): list(100 * found.overlap),
        ("the same by chance", 1, "last"): [100 * found.by_chance],
        ("rank correlation of scores", 1, "last"): list(100 * found.rank_correlation),
    }


TITLES = {name: choice.title for name, choice in SELECT_BY.items()}
MEASURES = {
    **{
        name: Measure(
            f"target test {name}, %",
            headlines,
            TITLES | {"last": "last step", "oracle": f"{TITLES['oracle']}; uses target labels"},
        )
        for name in ("accuracy", "mIoU")  # the tasks' headlines
    },
    "agreement": Measure(
        "source mini-batches of all runs together, %", agreement, {"last": "last step"}, own_rows=True
    ),
}
