"""Checkpoints of some runs → scores, agreement, leaderboard, figures, report: `analyze(workdirs, out)`."""

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from smdsb_jax.analysis import examine, store
from smdsb_jax.analysis.checkpoints import describe
from smdsb_jax.analysis.conclusions import conclude
from smdsb_jax.analysis.conflict import count_ticks
from smdsb_jax.analysis.examine import Drawn, Measured, Settings
from smdsb_jax.analysis.examined import DOMAINS, SOURCE, Examined
from smdsb_jax.analysis.figures import FIGURES, Material, draw, find_figure, write_table
from smdsb_jax.analysis.groups import group_names
from smdsb_jax.analysis.leaderboard import LEAST_DRAWN, Row, leaderboard
from smdsb_jax.analysis.ranks import spearman
from smdsb_jax.analysis.report import write_report
from smdsb_jax.analysis.subject import Located, Subject, find_checkpoints, has_pretext, open_subject
from smdsb_jax.config import flatten
from smdsb_jax.statistics import STATISTICS, Score, Statistic, find_statistic

MINUTE = 60.0  # seconds between lines of progress where there is no terminal
DEFINITION = 6  # of the measures and their draws: 6 since the pool takes other clouds than the samples
BY_DEFAULT = tuple(name for name, d in FIGURES.items() if d.examines and not d.lengthy)  # no more to compute
CHECKS = (  # (of, with): the same by another definition, or by an estimate; and what it might be instead
    ("dot_o, coupled", "dot_o, frozen_batch"),
    ("dot_o, coupled", "dot_o, running"),
    ("dot_o, coupled", "dot_o, deployed"),
    ("dot_o, running", "dot_o, deployed"),
    ("cos_o", "dot_o, deployed"),
    ("gain", "dot_o, deployed"),
    ("gain", "size"),
    ("dot_c", "dot_o"),  # what can be had without labels of the target, by a forward-mode pass
    ("dot_c", "dot_o, deployed"),
    ("cos_o", "cos_o, last layer"),
    ("dot_o, one half", "dot_o, other half"),  # of the pool: no score can agree better with what is measured
    ("dot_o, deployed, one half", "dot_o, deployed, other half"),
)


class Analysis(NamedTuple):
    """What `analyze` found; the same is in its folder."""

    examined: list[Examined]
    leaderboard: list[Row]
    checks: list[Row]
    report: Path


def analyze(
    workdirs: Sequence[str | Path],
    out: str | Path,
    *,
    statistics: Mapping[str, str | Score | Statistic] | None = None,
    beside: Sequence[str] = (),
    settings: Settings = Settings(),  # noqa: B008 - immutable
    every: bool = False,
    pictures: Sequence[str] = BY_DEFAULT,
    keep_ratio: float = 0.7,
    root: str | None = None,
    allow: Collection[str] = (),
    say: Callable[[str], Any] = print,
) -> Analysis:
    """Examine checkpoints and write their tables (*.csv), examined/*.npz, figures/ and report.html.

    With figures only that need no gradients nothing is examined, and these alone are in the report.

    Measures of agreement, the expensive part, are kept in `out`: the same call with another statistic takes
    them from there.

    Args:
      workdirs: of runs; runs that differ in the seed only are one group.
      out: folder, made.
      statistics: by name; each a name, `module:function`, a function or a `Statistic`. None: all built-in
        ones that the runs' labels allow.
      beside: further names of statistics, as of your own.
      settings: how many samples.
      every: all checkpoints of each run, not only the last one of each stage.
      pictures: names of figures, of FIGURES or your own as `module:function`.
      keep_ratio: of the samples, for what selecting is worth.
      root: folder of the data set, if it has moved.
      allow: as for `smdsb_jax.load`; what `statistics` names is allowed too.
      say: takes each line of progress.

    Raises:
      ValueError: a run without checkpoints or pretext task, data with other classes, an unknown name, a
        statistic that raises or is not finite; one line with the remedy. What was measured stays in `out`.
    """
    out = Path(out)
    chosen = {name: name for name in STATISTICS} if statistics is None else dict(statistics)
    own = list(dict.fromkeys([*beside, *(name for name in chosen if name not in STATISTICS)]))
    chosen = {name: chosen.get(name, name) for name in (*own, *chosen)}  # one's own come first
    per_cloud = [] if statistics is not None else [name for name in STATISTICS if STATISTICS[name].per_cloud]
    named = [statistic for statistic in chosen.values() if isinstance(statistic, str)]
    for statistic in named:
        find_statistic(statistic)
    allowed = {*allow, *named}
    drawings = [find_figure(name) for name in pictures]
    once = {Path(w).resolve(): Path(w) for w in workdirs}  # a run given twice is no second seed
    found = [f for w in once.values() for f in find_checkpoints(w, every)]
    material = Material(list(once.values()), root=root, allow=allowed)
    if drawings and not any(drawing.examines for drawing in drawings):
        return _conclude(out, found, [], material, Tables([], []), settings, pictures, keep_ratio, [], say)
    found = _with_pretext(found, allowed, say)
    (out / "examined").mkdir(parents=True, exist_ok=True)  # where it cannot be written, nothing is measured
    groups = group_names(found)
    asked = Asked(out, chosen, per_cloud, settings, root, allowed, say)
    examined, tables = [], Tables([], [])
    for number, (of, group) in enumerate(zip(found, groups, strict=True), start=1):
        one, measured = _examine(of, group, f"[{number}/{len(found)}]", asked)
        examined.append(one)
        about_it = describe(one, measured)
        tables = Tables(tables.checks + _checks(one, measured), tables.checkpoints + about_it)
        say(_on_saliency(about_it))
    material = material._replace(examined=examined)
    return _conclude(out, found, groups, material, tables, settings, pictures, keep_ratio, own, say)


class Tables(NamedTuple):
    """What is written beside the leaderboard."""

    checks: list[Row]
    checkpoints: list[Row]


class Asked(NamedTuple):
    """How each checkpoint is to be examined."""

    out: Path
    statistics: dict[str, str | Score | Statistic]
    per_cloud: list[str]  # statistics that need one label per cloud
    settings: Settings
    root: str | None
    allow: Collection[str]
    say: Callable[[str], Any]


def _examine(of: Located, group: str, which: str, asked: Asked) -> tuple[Examined, Measured]:
    """One checkpoint, scored and measured; its file is written."""
    settings, say, path = asked.settings, asked.say, _file(asked.out, of)
    subject = open_subject(of, asked.root, asked.allow)
    drawn = examine.draw(subject, settings)
    say(
        f"{which} {subject.name}: {drawn.samples} + {drawn.samples} samples in "
        f"mini-batches of {drawn.rows[0].shape[1]}, mean gradients of {drawn.pool} "
        + ("other clouds per domain" if drawn.skipped else "per domain, the samples among them")
    )
    left_out = asked.per_cloud if subject.parts.network.task.per_point else []
    if left_out:
        say(f"{subject.name}: {', '.join(left_out)} need one label per cloud, left out.")
    usable = {name: statistic for name, statistic in asked.statistics.items() if name not in left_out}
    scored = examine.examine_scores(subject, group, drawn, settings.seed, usable)
    about = _about(subject, of, drawn, settings)
    measured = _measured(subject, drawn, settings, path, about, say)
    examined = examine.with_measures(scored, measured)
    store.save(path, examined, measured, about)
    return examined, measured


def _on_saliency(rows: Sequence[Row]) -> str:
    shares = [f"{100 * float(r['saliency_flat']):.0f} % in {r['domain']}" for r in rows]  # type: ignore[arg-type]
    return f"  Points with at most 1 % of their cloud's largest saliency: {', '.join(shares)}."


def _conclude(
    out: Path,
    found: Sequence[Located],
    groups: Sequence[str],
    material: Material,
    tables: Tables,
    settings: Settings,
    pictures: Sequence[str],
    keep_ratio: float,
    own: Sequence[str],
    say: Callable[[str], Any],
) -> Analysis:
    """Leaderboard of what was examined, figures and report."""
    examined, written = material.examined, ["figures"]
    rows: list[Row] = []
    if examined:
        say("Leaderboard: rank correlations with bootstrap intervals …")
        with _progress(len(examined) * len(DOMAINS), "checkpoint in a domain", say) as tick:
            rows = leaderboard(examined, keep_ratio, tick=tick)
        write_table(out / "leaderboard.csv", rows)
        write_table(out / "checks.csv", tables.checks)
        write_table(out / "checkpoints.csv", tables.checkpoints)
        written = ["leaderboard.csv", "checkpoints.csv", "checks.csv", "figures", "examined"]
    drawn = draw(pictures, material, out / "figures", say)
    enough = LEAST_DRAWN * max(
        (int(np.bincount(e.batch[e.domain == SOURCE]).max()) for e in examined), default=0
    )
    conclusions = conclude(rows, own, keep_ratio, enough)
    of_all = list(dict.fromkeys(groups))
    title = of_all[0] if len(of_all) == 1 else "Which statistic predicts gradient conflict?"
    title = title if examined else "Figures"
    what = _what_was_run(found, settings)
    report = write_report(
        out / "report.html",
        title,
        what,
        rows,
        examined,
        drawn.captions,
        tables.checks,
        conclusions,
        drawn.notes,
        own,
        tables.checkpoints,
    )
    for line in conclusions.text():
        say(line)
    say(f"Written: {report}; {', '.join(str(out / name) for name in written)}")
    return Analysis(list(examined), rows, tables.checks, report)


def _with_pretext(found: list[Located], allow: Collection[str], say: Callable[[str], Any]) -> list[Located]:
    chosen = [f for f in found if has_pretext(f, allow)]
    for f in found:
        if f not in chosen:
            say(f"{f.workdir}, stage {f.stage}: trained without a pretext task, left out.")
    if not chosen:
        raise ValueError(
            "No checkpoint was trained with a pretext task: give a run with one, as method=defrec."
        )
    return chosen


def _measured(
    subject: Subject,
    drawn: Drawn,
    settings: Settings,
    path: Path,
    about: dict[str, Any],
    say: Callable[[str], Any],
) -> Measured:
    """The measures from `path`, or anew."""
    found = store.load_measured(path, about)
    if found is not None:
        return found
    with _progress(
        count_ticks(len(drawn.rows[0]) - drawn.skipped, drawn.measured), "mini-batch", say
    ) as tick:
        return examine.measure_agreement(subject, drawn, settings.seed, tick)


@contextlib.contextmanager
def _progress(
    total: int, unit: str, say: Callable[[str], Any], now: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, elsewhere a line each minute; what it gives is called after each piece."""
    done, last = 0, now()
    with tqdm(total=total, unit=unit, leave=False, disable=None) as bar:

        def tick(what: str) -> None:
            nonlocal done, last
            done += 1
            bar.set_description(what, refresh=False)
            bar.update()
            if bar.disable and now() - last >= MINUTE:
                last = now()
                say(f"  {100 * done // total} %: {what}")

        yield tick


def _file(out: Path, of: Located) -> Path:
    """Where the arrays of a checkpoint are kept."""
    run = re.sub(r"[^\w=.-]+", "_", "_".join(of.workdir.resolve().parts[-2:]))
    return out / "examined" / f"{run},stage={of.stage},step={of.step}.npz"


def _about(subject: Subject, of: Located, drawn: Drawn, settings: Settings) -> dict[str, Any]:
    """What the measures depend on, networks and clouds by their digest: a folder may hold another run now."""
    config = {k: str(v) for k, v in flatten(subject.config).items() if k != "data.root"}
    splits = zip((subject.source.train, subject.target.train), drawn.rows, strict=True)
    return {
        "config": config,
        "step": of.total_step,
        "network": _digest(subject.state.variables),
        "clouds": _digest([(split.points[rows], split.label[rows]) for split, rows in splits]),
        "definition": DEFINITION,
        "jax": jax.__version__,
        **settings._asdict(),
    }


def _digest(tree: Any) -> str:
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(tree)):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _checks(examined: Examined, measured: Measured) -> list[Row]:
    """Rank correlations of measures with other definitions, estimates and sizes."""
    rows: list[Row] = []
    known = measured.measures | measured.checks
    for half, domain in enumerate(DOMAINS[:2]):
        for one, other in CHECKS:
            rho = spearman(known[one][half], known[other][half])
            rows.append(
                {"checkpoint": examined.name, "domain": domain, "of": one, "with": other, "spearman": rho}
            )
    return rows


def _what_was_run(found: Sequence[Located], settings: Settings) -> str:
    parts = [f"{name} = {value}" for name, value in settings._asdict().items()]
    for f in found:
        lines = [f"  {k} = {v}" for k, v in flatten(f.config).items()]
        parts.append("\n".join([f"\n{f.workdir}, stage {f.stage}, step {f.step}", *lines]))
    return "\n".join(parts)
