"""One HTML file of a laboratory's results, to be read without a network: leaderboard, saliency, figures."""

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt

from smdsb_jax.analysis.conclusions import Conclusions
from smdsb_jax.analysis.examined import DOMAINS, Examined
from smdsb_jax.analysis.oracle import REFERENCES
from smdsb_jax.report.page import PathLike, encode, quantize_cloud, write_page
from smdsb_jax.report.pictures import LEVELS

Value = str | int | float | None
TEMPLATE, SCRIPT = (Path(__file__).with_name(name) for name in ("report.html", "report.js"))
NOTHING = Conclusions([], [])
MIME = {".svg": "image/svg+xml", ".png": "image/png"}


def write_report(
    path: PathLike,
    title: str,
    config_text: str,
    leaderboard: Sequence[Mapping[str, Value]],
    examined: Sequence[Examined],
    figures: Mapping[Path, str],
    checks: Sequence[Mapping[str, Value]] = (),
    conclusions: Conclusions = NOTHING,
    notes: Sequence[str] = (),
    own: Sequence[str] = (),
    about_each: Sequence[Mapping[str, Value]] = (),
) -> Path:
    """Write the report and return its path; an earlier one stays until the new one is whole.

    Args:
      path: of the HTML file; its folder is made.
      title: heading of the page.
      config_text: what was run, shown as it is.
      leaderboard: a row per group, stage, domain, statistic and measure (those text columns, `stage` a
        number); numbers may have companions `NAME_low95` and `NAME_high95`; None and NaN are shown as –.
      examined: the checkpoints, in the order in which they are offered.
      figures: SVG and PNG files and their captions, of two with one stem the SVG; a CSV of their numbers is
        passed over.
      checks: rank correlations of measures with other definitions and estimates of the same.
      conclusions: tables and sentences to begin with.
      notes: sentences of the figures.
      own: the reader's own statistics, whose rows come first.
      about_each: what each checkpoint is like.

    Raises:
      ValueError: a figure is neither SVG nor PNG.
    """
    parts = {
        "title": html.escape(title),
        "facts": _facts(leaderboard, examined),
        "figures": _figures(figures),
        "checkpoints": _table(about_each),
        "checks": _table(checks),
        "conclusions": _conclusions(conclusions, own),
        "notes": _items(notes),
        "config": html.escape(config_text),
    }
    return write_page(path, TEMPLATE, SCRIPT, report_data(leaderboard, examined, own), parts)


def report_data(
    leaderboard: Sequence[Mapping[str, Value]], examined: Sequence[Examined], own: Sequence[str] = ()
) -> dict[str, Any]:
    """What the page reads: columns and rows, checkpoints, and each cloud once however often it is shown."""
    columns = list(dict.fromkeys(name for row in leaderboard for name in row))
    clouds: dict[tuple[float, str], int] = {}  # unit and coordinates of a cloud → its place
    checkpoints = [_checkpoint(e, clouds) for e in examined]
    return {
        "levels": LEVELS,
        "domains": DOMAINS,
        "own": list(own),
        "references": list(REFERENCES),
        "columns": columns,
        "rows": [[_finite_or_none(row.get(name)) for name in columns] for row in leaderboard],
        "checkpoints": checkpoints,
        "clouds": list(clouds),
    }


def quantize_saliency(saliency: Float[np.ndarray, " n"]) -> tuple[float, float, UInt[np.ndarray, " n"]]:
    """Least value, unit and uint16 steps above it; off by half a unit at most, least and largest exact.

    What is not finite becomes 0.
    """
    known = np.nan_to_num(saliency.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low = float(known.min(initial=np.inf if known.size else 0.0))
    unit = float(known.max(initial=low) - low) / 65535
    return low, unit, np.rint((known - low) / (unit or 1.0)).astype(np.uint16)


def _checkpoint(e: Examined, clouds: dict[tuple[float, str], int]) -> dict[str, Any]:
    """The arrays of one checkpoint; its clouds are added to `clouds`."""
    place = []
    for unit, steps in map(quantize_cloud, e.points):
        place.append(clouds.setdefault((unit, encode(steps, "<i2")), len(clouds)))
    saliency = [quantize_saliency(s) for s in e.saliency]
    of_rows = ("index", "batch", "label", "predicted", "kept", "shown")
    return {
        "name": e.name,
        "classes": e.classes,
        "domain": encode(np.array([DOMAINS.index(name) for name in e.domain], int), "<i4"),
        **{name: encode(getattr(e, name), "<i4") for name in of_rows},
        "scores": {name: encode(values, "<f4") for name, values in e.scores.items()},
        "measures": {name: encode(values, "<f4") for name, values in e.measures.items()},
        "cloud": place,
        "saliency": [(low, unit, encode(steps, "<u2")) for low, unit, steps in saliency],
    }


def _finite_or_none(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _facts(leaderboard: Sequence[Mapping[str, Value]], examined: Sequence[Examined]) -> str:
    """What was measured, as items of a definition list."""

    def names(found: Iterable[Any]) -> list[str]:
        return list(dict.fromkeys(str(name) for name in found))

    counts = {d: names((e.domain == d).sum() for e in examined) for d in DOMAINS[:2]}
    statistics = names(row["statistic"] for row in leaderboard) or names(
        n for e in examined for n in e.scores
    )
    statistics = [name for name in statistics if name not in REFERENCES]
    measures = names(row["measure"] for row in leaderboard) or names(n for e in examined for n in e.measures)
    numbered = {
        "stage": names(sorted(e.stage for e in examined)),
        "seed": names(sorted(e.seed for e in examined)),
    }
    of_what = names(e.group for e in examined)
    of_what += [f"{name}{'s' * (len(n) > 1)} {', '.join(n)}" for name, n in numbered.items() if n]
    samples = " + ".join(" or ".join(counts[d]) for d in counts) if examined else "0"
    facts = [
        (len(examined), f"checkpoint{'s' * (len(examined) != 1)}", "; ".join(of_what)),
        (samples, "samples per checkpoint", "source + target"),
        (len(statistics), f"statistic{'s' * (len(statistics) != 1)}", ", ".join(statistics)),
        (len(measures), f"measure{'s' * (len(measures) != 1)} of agreement", ", ".join(measures)),
    ]
    return "\n".join(
        f"<div><dt>{name}</dt><dd>{value}</dd><dd>{html.escape(note)}</dd></div>"
        for value, name, note in facts
    )


def _conclusions(found: Conclusions, own: Sequence[str]) -> str:
    tables = [f"<h3>{html.escape(table.title)}</h3>\n{_table(table.lines, own)}" for table in found.tables]
    return "\n".join([*tables, _items(found.sentences)]) if tables else "<p>Nothing was compared.</p>"


def _items(sentences: Sequence[str]) -> str:
    items = "\n".join(f"<li>{html.escape(line)}</li>" for line in sentences)
    return f'<ul class="sentences">{items}</ul>' if sentences else ""


def _table(rows: Sequence[Mapping[str, Value]], own: Sequence[str] = ()) -> str:
    """Rows as a plain table; numbers with two decimals, rows of one's own statistics marked."""
    if not rows:
        return "<p>None was made.</p>"

    def cell(value: Value) -> str:
        text = f"{value:.2f}" if isinstance(value, float) else html.escape(str(value))
        return f'<td class="number">{text}</td>' if isinstance(value, float) else f"<td>{text}</td>"

    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in rows[0])
    marks = (' class="own"' if row.get("statistic") in own else "" for row in rows)
    body = "\n".join(
        f"<tr{mark}>{''.join(map(cell, row.values()))}</tr>" for mark, row in zip(marks, rows, strict=True)
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="card scroll" tabindex="0">{table}</div>'


def _figures(captions: Mapping[Path, str]) -> str:
    """The files as images that lie in the page itself."""
    paths = [path for path in captions if path.suffix != ".csv"]
    of_stem = {path.stem: path for path in sorted(paths, key=lambda path: path.suffix == ".svg")}
    images = []
    for stem in dict.fromkeys(path.stem for path in paths):
        path = of_stem[stem]
        if path.suffix not in MIME:
            raise ValueError(f"{path} cannot be put into the report: give SVG or PNG files.")
        caption = html.escape(captions[path])
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        image = f'<img src="data:{MIME[path.suffix]};base64,{data}" alt="{caption}">'
        images.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    return "\n".join(images) or "<p>None was drawn.</p>"
