"""`--ledger`: what each operation of one training step takes, beside what its products and bytes must take.

Runs by itself: `python -m benchmarks.ledger SETTING ARGUMENTS` prints its record as JSON.
"""

import functools
import json
import re
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from benchmarks.contenders import CLASSES, CONTENDERS, Setting, config_of, random_batch
from benchmarks.hlo import operations
from benchmarks.machine import free_bytes
from benchmarks.processes import open_progress
from benchmarks.ratios import spread
from benchmarks.report import Record, digits, dress, times_cells
from benchmarks.timeline import profile, runs_of, seconds_of
from smdsb_jax import pages
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.markdown import markdown_table
from smdsb_jax.report.pictures import COLORS, FAINT, INK
from smdsb_jax.run.memory import needed_bytes, room_to_keep
from smdsb_jax.train_step import train_step

LEAST_SHARE = 0.01  # of the step, that a group takes to get a line of its own
TIMES_BOUND = 1.5  # beyond, there is something to be won
PRODUCT_SIZE = {"cpu": 2048, "gpu": 8192}  # of the square matrices whose product gives the peak
TRIAD_SIZE = {"cpu": 2**26, "gpu": 2**28}  # numbers, more than caches hold, of a[i] + 2 b[i]

# The scopes that a step names (train_step.py, pretext_pass.py).
PASSES = (
    "augment", "class_source", "class_target", "saliency", "select", "prepare", "pretext_source",
    "pretext_target", "pretext_joint", "combine", "optimizer",
)  # fmt: skip
REST = "rest"
# words of a path that are no module, kernel or function of ours
STRUCTURE = re.compile(
    r"while|body|cond|branch_\d+_fun|closed_call|eval_jaxpr|one_by_one|batched|shard_map|Primitive\w*"
)
# jax traces them once: what follows is named after who was first
RANDOM = re.compile(r"jit\((_threefry|_uniform|_normal|_shuffle|_bernoulli|_gumbel)")


class Place(NamedTuple):
    """Where in our code an operation comes from."""

    step: str  # of PASSES
    layer: str  # module, and the kernel in it; empty: of the pass itself
    backward: bool


def place(op_name: str) -> Place:
    """From a path as `jit(train_step)/transpose(jvp(class_source))/DGCNN/edge2/knn_search/while/body/add`."""
    of_random = RANDOM.search(op_name)
    words = []
    for part in op_name[: of_random.start() if of_random else None].split("/")[: None if of_random else -1]:
        name = re.sub(r"^(\w+\()+|\)+$", "", part)
        if name.isidentifier() and not STRUCTURE.fullmatch(name) and "jit(" not in part:
            words.append(name)
    step = next((word for word in words if word in PASSES), REST)
    layer = [word for word in dict.fromkeys(words) if word not in PASSES] + ["random numbers"] * bool(
        of_random
    )
    return Place(step, " ".join(layer), "transpose(" in op_name)


def measure(setting: Setting, name: str, rounds: int, product: int = 0, triad: int = 0) -> Record:
    """The machine's rates, a step by itself and a profiled one, in turns; medians of every instruction.

    The rates are of arrays of `product` and `triad`; 0: of the device's size in PRODUCT_SIZE and TRIAD_SIZE.

    Where the profiler names no instruction of the step, `operations` is empty.
    """
    parts = build_parts(config_of(setting, CONTENDERS[name]), setting.stage, CLASSES)
    batch = jax.device_put(random_batch(setting))
    state = jax.jit(functools.partial(init_state, parts))(jax.random.key(0))
    step = jax.jit(functools.partial(train_step, parts), donate_argnums=0).lower(state, batch).compile()
    pages.keep_pages(room_to_keep(needed_bytes(step), free_bytes()))  # as a training
    known = operations(step.as_text() or "")
    loops = {one.name for one in known if one.kind == "loops"}

    def advance() -> Any:
        nonlocal state
        state, metrics = step(state, batch)
        return state, metrics

    sizes = product or PRODUCT_SIZE[setting.device], triad or TRIAD_SIZE[setting.device]
    rates = product_rate(sizes[0]), memory_rate(sizes[1])
    for _ in range(1 + setting.warmup):
        jax.block_until_ready(advance())
    tick = open_progress(rounds)
    peaks, bandwidths, alone, profiled, explained, faults = [], [], [], [], [], []
    seconds: dict[str, list[float]] = defaultdict(list)
    seen: dict[str, list[int]] = defaultdict(list)
    for r in range(rounds):  # rates too in each, so that a busy moment of the machine slows all of it
        for found, rate in zip((peaks, bandwidths), rates, strict=True):
            found.append(rate())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        alone.append(_seconds(advance))
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        moments = profile(lambda: profiled.append(_seconds(advance)), {one.name for one in known})
        taken, runs = seconds_of(moments, loops), runs_of(moments)
        explained.append(sum(taken.values()) / profiled[-1])
        for one in known:
            seconds[one.name].append(taken.get(one.name, 0.0))
            seen[one.name].append(runs[one.name])
        tick(f"step {r + 1} of {rounds}")
    listed = []
    peak, bandwidth = float(np.median(peaks)), float(np.median(bandwidths))
    for one in known:
        runs = int(np.median(seen[one.name])) if one.runs is None else one.runs
        work = {kind: runs * amount for kind, amount in one.work._asdict().items()}
        least = max(work["products"] / peak, work["bytes"] / bandwidth)
        of_name = {"name": one.name, "kind": one.kind, **place(one.op_name)._asdict(), "op_name": one.op_name}
        listed.append(
            of_name | {"runs": runs, "seconds": float(np.median(seconds[one.name])), **work, "bound": least}
        )
    return {
        "contender": name, "alone": alone, "profiled": profiled, "explained": explained, "pages": faults,
        "products_per_second": peak, "bytes_per_second": bandwidth,
        "operations": [one for one in listed if one["runs"]] if any(explained) else [],
    }  # fmt: skip


def product_rate(size: int) -> Callable[[], float]:
    """Measures multiplications and additions per second, of a product of two square matrices."""
    x = jnp.full((size, size), 1 / size)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(x, x))
    return lambda: 2 * size**3 / _seconds(lambda: product(x, x))


def memory_rate(size: int) -> Callable[[], float]:
    """Measures bytes per second, read and written, of a[i] + 2 b[i] in place of a."""
    a, b = jnp.ones(size), jnp.ones(size)
    triad = jax.jit(lambda a, b: a + 2 * b, donate_argnums=0)

    def add() -> jax.Array:
        nonlocal a
        a = triad(a, b)
        return a

    jax.block_until_ready(add())
    return lambda: 3 * b.nbytes / _seconds(add)


def _seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begun


SUMMED = ("runs", "seconds", "products", "others", "bytes", "bound")


def groups(listed: Sequence[Record], by: Callable[[Record], str]) -> list[Record]:
    """Sums over the operations of which `by` says the same, the longest first."""
    found: dict[str, Record] = {}
    for one in listed:
        group = found.setdefault(by(one), {"group": by(one)} | dict.fromkeys(SUMMED, 0))
        for kind in SUMMED:
            group[kind] += one[kind]
    return sorted(found.values(), key=lambda group: -group["seconds"])


def pass_of(one: Record) -> str:
    """As `pretext source`."""
    return one["step"].replace("_", " ")


def module_and_kernel(one: Record) -> str:
    """As `DGCNN edge3 knn_search`, in all passes; of what has no module, the pass."""
    return one["layer"] or pass_of(one)


def place_and_kind(one: Record) -> str:
    """As `DGCNN edge3, products, backward`, in all passes."""
    return f"{module_and_kernel(one)}, {one['kind']}{', backward' * one['backward']}"


def large_groups(record: Record, by: Callable[[Record], str] = place_and_kind) -> list[Record]:
    """Those that take more than LEAST_SHARE of the profiled step."""
    least = LEAST_SHARE * spread(record["profiled"])["median"]
    return [group for group in groups(record["operations"], by) if group["seconds"] > least]


def above_bound(listed: Sequence[Record]) -> list[Record]:
    """The groups that take more than TIMES_BOUND of their bound, those with most to be won first."""
    above = [group for group in listed if group["seconds"] > TIMES_BOUND * group["bound"]]
    return sorted(above, key=lambda group: group["bound"] - group["seconds"])


def ledger_table(record: Record) -> str:
    """What takes above 1 %, grouped in three ways; what is explained, and what there is to be won."""
    step, profiled = (spread(record[kind]) for kind in ("alone", "profiled"))
    bound = sum(one["bound"] for one in record["operations"])
    lines = [
        f"{record['contender']}, {len(record['alone'])} steps of {' s, '.join(times_cells(step))} s, each "
        f"followed by a profiled one of {digits(profiled['median'])} s, which the times below are of.",
        f"Bound: products at {digits(record['products_per_second'] / 1e9)} · 10⁹ operations a second, all "
        f"else at {digits(record['bytes_per_second'] / 1e9)} GB/s of memory, as measured between the steps. "
        "What stays in a cache may take less; what is the first to write to new memory also waits for the "
        f"system, which gave {spread(record['pages'])['median']:.0f} pages in a step.",
        "",
        _table(record, "module, kernel, kind", place_and_kind),
        "",
        _table(record, "module, kernel", module_and_kernel),
        "",
        _table(record, "pass", pass_of),
        "",
        f"Explained: {100 * spread(record['explained'])['median']:.1f} % of the profiled step.  ",
        f"Sum of bounds: {digits(bound)} s. The step takes {digits(step['median'] / bound)} times as long.  ",
    ]
    above = above_bound(large_groups(record))
    if not above:
        return "\n".join(
            [
                *lines,
                f"Nothing of above {100 * LEAST_SHARE:.0f} % takes more than {TIMES_BOUND} times its bound.",
            ]
        )
    lines += [f"Above {TIMES_BOUND} times their bound, by what there is to be won:", ""]
    for i, group in enumerate(above, start=1):
        won = digits(1e3 * (group["seconds"] - group["bound"]))
        lines.append(f"{i}. {group['group']}: {won} ms, at {times_bound(group)} times its bound")
    return "\n".join(lines)


def _table(record: Record, title: str, by: Callable[[Record], str]) -> str:
    """The large groups, the rest in one line, and all."""
    head = [
        title, "runs", "ms", "% of the step", "products, 10⁹", "other operations, 10⁹", "GB", "bound, ms",
        "times the bound", "to be won, ms",
    ]  # fmt: skip
    large = {group["group"] for group in large_groups(record, by)}
    rest = f"all below {100 * LEAST_SHARE:.0f} %"
    rows = [
        *groups([one for one in record["operations"] if by(one) in large], by),
        *groups([one for one in record["operations"] if by(one) not in large], lambda one: rest),
        *groups(record["operations"], lambda one: "all"),
    ]
    whole = spread(record["profiled"])["median"]
    return markdown_table(head, [[group["group"], *_cells(group, whole)] for group in rows])


def times_bound(group: Record) -> str:
    """How many times its bound a group takes; of loops, which must do nothing themselves, infinitely many."""
    return digits(group["seconds"] / group["bound"]) if group["bound"] else "∞"


def _cells(group: Record, whole: float) -> list[str]:
    return [
        str(group["runs"]), digits(1e3 * group["seconds"]), f"{100 * group['seconds'] / whole:.1f}",
        digits(group["products"] / 1e9), digits(group["others"] / 1e9), digits(group["bytes"] / 1e9),
        digits(1e3 * group["bound"]), times_bound(group), digits(1e3 * (group["seconds"] - group["bound"])),
    ]  # fmt: skip


def ledger_picture(record: Record) -> Figure:
    """Bars of the large groups' time, the bound on top; those above 1.5 times it in another color."""
    large = large_groups(record)
    above = {group["group"] for group in above_bound(large)}
    figure = Figure(figsize=(10, 1.4 + 0.3 * len(large)), layout="constrained")
    axes = figure.subplots()
    for y, group in enumerate(large):
        color = COLORS[1 if group["group"] in above else 0]
        axes.barh(y, 1e3 * group["seconds"], 0.7, color=color)
        axes.plot(2 * [1e3 * group["bound"]], [y - 0.35, y + 0.35], color=INK, linewidth=2)
        if group["group"] in above:
            axes.text(
                1e3 * group["seconds"], y, f" {times_bound(group)} times", va="center", fontsize=9, color=INK,
            )  # fmt: skip
    axes.set_yticks(range(len(large)), [group["group"] for group in large])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    dress(axes, f"One step: time, bound (line), and how often its bound from {TIMES_BOUND} on", "ms", "")
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    return figure


if __name__ == "__main__":
    pages.one_arena()
    setting, given = Setting(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    jax.config.update("jax_default_matmul_precision", setting.precision)
    # else a program from the cache may have the names of an earlier revision
    jax.config.update("jax_compilation_cache_include_metadata_in_key", True)
    print(json.dumps(measure(setting, given["name"], given["rounds"])))
