"""The protocol: each contender alone with an empty cache, then all of them interleaved from warm caches."""

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.contenders import Setting
from benchmarks.processes import Failed, Worker, ask, open_progress, open_worker, require_one_precision
from benchmarks.ratios import paired_ratio, spread

Record = dict[str, Any]
ALONE = 3  # steps of a contender by itself


def compare(setting: Setting, names: Sequence[str], baseline: str, rounds: int) -> Record:
    """All measurements of one setting, by contender; `failed` says why one has none.

    First each contender by itself in a fresh process with an empty cache (cold start, steps alone, peak
    memory). Then all in new processes, which start from those caches; in each round each makes one step,
    in an order rotated by one each round, while the others wait.

    Raises:
      ValueError: none could run, or they compute at different precisions.
    """
    tick = open_progress(2 * len(names) + rounds)
    alone: dict[str, Record] = {}
    with contextlib.ExitStack() as stack:
        caches = {name: stack.enter_context(tempfile.TemporaryDirectory()) for name in names}
        for name in names:
            alone[name] = measure_alone(name, setting, min(rounds, ALONE), caches[name])
            tick(f"{name}, alone: {outcome(alone[name])}")
        failed = {name: record["failed"] for name, record in alone.items() if "failed" in record}
        records = {name: record for name, record in alone.items() if name not in failed}
        if not records:
            raise ValueError("No contender could run:\n" + "\n".join(failed.values()))
        require_one_precision({name: record["precision"] for name, record in records.items()})
        workers: dict[str, Worker] = {}
        for name in list(records):
            try:
                workers[name] = stack.enter_context(open_worker(name, setting, caches[name]))
            except Failed as error:
                failed[name] = f"beside the others: {error}"
            tick(f"{name}: started again, from its cache")
        answers = interleave(workers, rounds, failed, tick)
        peaks = {name: ask(workers[name], "memory")["peak_bytes"] for name in answers}
    if not answers:
        raise ValueError("No contender could run beside the others:\n" + "\n".join(failed.values()))
    baseline = baseline if baseline in answers else next(iter(answers))
    for name in answers:
        record = records[name]
        seconds = [answer["seconds"] for answer in answers[name]]
        idle = sum(answer["idle"] for answer in answers[name])
        record |= {
            "seconds": seconds,
            "interleaved": spread(seconds),
            "ratio": paired_ratio([answer["seconds"] for answer in answers[baseline]], seconds),
            "clouds_per_second": 2 * setting.batch / spread(seconds)["median"],
            "cached": workers[name].ready["seconds"],
            "peak_bytes_cached": peaks[name],
            "cores_while_idle": sum(a["cpu_while_idle"] for a in answers[name]) / idle if idle > 1 else 0.0,
            "metrics": answers[name][-1]["metrics"],
        }
    contenders = {name: records[name] for name in answers}
    return {"setting": setting._asdict(), "baseline": baseline, "contenders": contenders, "failed": failed}


def measure_alone(name: str, setting: Setting, steps: int, cache: str) -> Record:
    """Cold start, step times and peak memory of a contender while no other exists; or why it `failed`."""
    try:
        with open_worker(name, setting, cache) as worker:
            seconds = [ask(worker, "step")["seconds"] for _ in range(steps)]
            return {
                "precision": worker.ready["precision"],
                "device": worker.ready["device"],
                "free_bytes": worker.ready["free_bytes"],
                "resident_bytes": worker.ready["resident_bytes"],  # main memory before the first step
                "cold": worker.ready["seconds"],
                "seconds_alone": seconds,
                "alone": spread(seconds),
                "peak_bytes": ask(worker, "memory")["peak_bytes"],
            }
    except Failed as error:
        return {"failed": str(error)}


def outcome(record: Record) -> str:
    """What `measure_alone` came to, for the progress line."""
    return record.get("failed") or f"{record['alone']['median']:.3g} s a step"


def interleave(
    workers: dict[str, Worker], rounds: int, failed: dict[str, str], tick: Callable[[str], None]
) -> dict[str, list[Record]]:
    """The answers of each contender, one per round; who fails in between is left out."""
    answers: dict[str, list[Record]] = {name: [] for name in workers}
    for r in range(rounds):
        order = list(answers)
        first = r % max(1, len(order))
        for name in order[first:] + order[:first]:
            try:
                answers[name].append(ask(workers[name], "step"))
            except Failed as error:
                failed[name] = f"beside the others: {error}"
                del answers[name]
        tick(f"round {r + 1} of {rounds}")
    return answers
