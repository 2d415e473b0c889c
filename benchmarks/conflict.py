"""`--conflict`: what the agreement of per-sample gradients costs, beside loops of backward passes."""

import contextlib
import functools
import json
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.compare import interleave
from benchmarks.conflict_contenders import CONTENDERS
from benchmarks.contenders import Setting
from benchmarks.processes import Failed, Worker, ask, open_process, open_progress, run_module
from benchmarks.ratios import paired_ratio, spread
from benchmarks.report import digits, gib, ratio_cell, times_cells
from smdsb_jax.analysis.ranks import spearman
from smdsb_jax.markdown import markdown_table

Record = dict[str, Any]
PROTOCOL = """\
- DefRec, first weights, random clouds in the unit ball; two directions, a class and an oracle gradient. Inner
  products are those of training (samples coupled by BatchNorm), cosines those of inference mode.
- A process per contender, started from its cache; in each round each runs once, in rotated order. Loops take
  one mini-batch a round: their rate does not depend on how many follow.
- Peak memory of the process; on a CPU all of its resident memory. Temporaries: what its largest program needs
  beside arguments and results. Difference: the largest from the first loop, relative to the largest value."""


def compare(setting: Setting, names: Sequence[str], samples: int, rounds: int) -> Record:
    """All measurements, by contender; `failed` says why one has none.

    `samples` are those of all rounds together, in whole mini-batches.

    Raises:
      ValueError: none could run.
    """
    batches = max(1, round(samples / rounds / setting.batch))
    tick = open_progress(2 * len(names) + rounds + 1)
    with contextlib.ExitStack() as stack:
        folders = {name: stack.enter_context(tempfile.TemporaryDirectory()) for name in ("", *names)}
        given = {"folder": folders[""], "batches": batches}
        run_module("benchmarks.conflict_inputs", setting, given)
        tick(f"{batches} mini-batches of {setting.batch} samples a round")
        failed: dict[str, str] = {}
        workers: dict[str, Worker] = {}
        for name in names:
            start = functools.partial(open_contender, name, setting, given, folders[name])
            try:
                with start():  # fills the cache: what the compiler needs is not the contender's memory
                    tick(f"{name}: compiled")
                worker = stack.enter_context(start())
                ask(worker, "warm-up")
                workers[name] = worker
                tick(f"{name}: started again, from its cache")
            except Failed as error:
                failed[name] = str(error)
        answers = interleave(workers, rounds, failed, tick)
        if not answers:
            raise ValueError("No contender could run:\n" + "\n".join(failed.values()))
        found = {name: finished(workers[name], answers[name]) for name in answers}
    summarize(found)
    return {"setting": setting._asdict(), "contenders": found, "failed": failed}


def open_contender(
    name: str, setting: Setting, given: Record, cache: str
) -> contextlib.AbstractContextManager[Worker]:
    """Start a contender, which reads the inputs in `given["folder"]`."""
    words = ["benchmarks.conflict_contenders", name, json.dumps(setting._asdict()), json.dumps(given)]
    return open_process(name, words, "jax" if CONTENDERS[name].build else "torch", setting, cache)


def finished(worker: Worker, answers: Sequence[Record]) -> Record:
    """What a contender found, with its rates and its memory."""
    seconds = [answer["seconds"] for answer in answers]
    samples = worker.ready["samples"]
    return {
        **worker.ready,
        "seconds": seconds,
        "rate": spread([samples / s for s in seconds]),
        "values": ask(worker, "values")["values"],
        **ask(worker, "memory"),
    }


def summarize(found: dict[str, Record]) -> None:
    """Add to each contender how it compares with the first of the same numbers."""
    first: dict[str, Record] = {}
    for name, record in found.items():
        loop = first.setdefault(CONTENDERS[name].numbers, record)
        of_loop, own = ([s / r["samples"] for s in r["seconds"]] for r in (loop, record))
        record["faster"] = paired_ratio(of_loop, own)
        record["difference"] = difference(loop["values"], record["values"])
    exact, estimate = (
        np.array(found.get(name, {}).get("values", ())) for name in ("in chunks", "last layer")
    )
    if exact.size and estimate.size:
        pairs = zip(exact, estimate, strict=True)
        found["last layer"]["rank_correlation"] = [spearman(a, b) for a, b in pairs]


def difference(values: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> float:
    """The largest difference of the samples that both have, relative to its direction's largest value."""
    found = []
    for a, b in zip(values, others, strict=True):
        count = min(len(a), len(b))
        of_a, of_b = np.array(a[:count]), np.array(b[:count])
        found.append(np.max(np.abs(of_a - of_b)) / max(np.max(np.abs(of_a)), np.finfo(float).tiny))
    return float(max(found))


def conflict_table(measured: Record) -> str:
    """A row per contender."""
    head = [
        "numbers", "contender", "samples a round", "samples/s, median", "min to max",
        "times faster than the loop [95 %]", "peak memory, GiB", "temporaries, GiB", "difference", "agrees",
    ]  # fmt: skip
    rows = []
    for name, r in measured["contenders"].items():
        of = CONTENDERS[name]
        chunk = f", {r['chunk']} at a time" if "chunk" in r else ""
        agreement = ["-", "an estimate"]
        if of.tolerance is not None:  # a NaN is no agreement
            agreement = [f"{r['difference']:.1e}", "yes" if r["difference"] <= of.tolerance else "NO"]
        rows.append([
            of.numbers, name + chunk, str(r["samples"]), *times_cells(r["rate"]), ratio_cell(r["faster"]),
            gib(r["peak_bytes"]), gib(r["temporary_bytes"]) if "temporary_bytes" in r else "-",
            *agreement,
        ])  # fmt: skip
    lines = [markdown_table(head, rows)]
    ranks = measured["contenders"].get("last layer", {}).get("rank_correlation")
    if ranks:
        lines.append(
            f"\nRank correlation of the last layer's cosines with the exact: {digits(ranks[0])} (class), "
            f"{digits(ranks[1])} (oracle). Weights are untrained and clouds random: this is no finding."
        )
    lines += [f"\nNot measured: {name}: {why}" for name, why in measured["failed"].items()]
    return "\n".join(lines)
