"""Pictures of a run: curves, confusion matrix, scores per class, saliency, parts. Files, never windows."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullLocator

from smdsb_jax.files import whole_file
from smdsb_jax.run.records import read_records
from smdsb_jax.scores import ROLES, value_of

# Okabe and Ito's colors, which color-blind readers tell apart; the most legible on white first
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# their yellow too: areas may be pale; then four of Paul Tol's
PART_COLORS = (*COLORS, "#F0E442", "#882255", "#999933", "#332288", "#AA4499")
LEVELS = ("#9DB2C7", "#E69F00", "#B3123A")  # low, middle, high saliency: also ordered in gray
LEVEL_NAMES = ("low", "middle", "high")
INK, FAINT = "#333333", "#E3E3E3"
DPI = 150
PathLike = str | os.PathLike[str]


def curves(path: PathLike, metrics_jsonl: PathLike) -> None:
    """Losses (keys `loss/…`, logarithmic) and the headline of each score of a run against its step.

    Beside them the tasks' weights (keys `combine/weight/…`), where a rule recorded such. A loss is drawn
    faintly as recorded and boldly as its running mean; a dashed line marks where stage 2 begins.
    """
    records = read_records(metrics_jsonl)
    names = list(dict.fromkeys(name for record in records for name in record))
    losses = [name for name in names if name.startswith("loss/")]
    scores = [found[0] for found in (value_of(dict.fromkeys(names, 0), role) for role in ROLES) if found]
    weights = [name for name in names if name.startswith("combine/weight/")]
    metric = (scores[0].partition("/")[2] if scores else "score").replace("_", " ")
    columns = 3 if weights else 2
    figure = Figure(figsize=(5.5 * columns, 4.2), layout="constrained")
    left, right, *third = figure.subplots(1, columns)
    for name, color in zip(losses, _cycle(losses), strict=True):
        step, value = _series(records, name)
        _line(left, step, value, color, alpha=0.25, linewidth=1)
        _line(left, step, _running_mean(value), color, linewidth=2, label=_words(name.removeprefix("loss/")))
    for name, color in zip(scores, _cycle(scores), strict=True):
        step, value = _series(records, name)
        label = _words(name.partition("/")[0])
        _line(right, step, 100 * value, color, linewidth=2, marker="o", markersize=3.5, label=label)
    for axes in third:
        for name, color in zip(weights, _cycle(weights), strict=True):
            label = _words(name.removeprefix("combine/weight/"))
            _line(axes, *_series(records, name), color, linewidth=2, label=label)
    drawn = [value for name in losses for value in _series(records, name)[1] if np.isfinite(value)]
    if drawn and min(drawn) > 0:
        log_scale(left)
    right.set_ylim(0, 102)
    stage_1 = [record["step"] for record in records if record["stage"] == 1]
    boundary = max(stage_1) if stage_1 and any(record["stage"] == 2 for record in records) else None
    for axes, title, unit in (
        (left, "Losses", "mean loss per sample"),
        (right, "Scores", f"{metric}, %"),
        *((axes, "Weights", "of a task's gradient") for axes in third),
    ):
        plain(axes, title, "step (optimizer updates)", unit)
        axes.set_xlim(0, 1.02 * max((record["step"] for record in records), default=1))
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
        axes.grid(color=FAINT, linewidth=0.8)
        if boundary is not None:
            mark_stage(axes, boundary, "stage 2")
        if axes.lines:
            _legend(axes)
    save(figure, path)


def confusion(
    path: PathLike, confusion: Int[np.ndarray, "classes classes"], classes: Sequence[str], title: str = ""
) -> None:
    """Heat map of a confusion matrix (rows are true): each row as percentages of its samples."""
    count = confusion.sum(axis=1, keepdims=True)
    share = 100 * confusion / np.maximum(count, 1)
    side = 2.6 + 0.62 * len(classes)
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(np.where(count > 0, share, np.nan), cmap="Blues", vmin=0, vmax=100)
    for i, row in enumerate(share):
        for j, value in enumerate(row):
            if count[i]:
                color = "white" if value > 55 else INK if value >= 0.5 else "#AAAAAA"
                axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=10, color=color)
    axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), [f"{c} ({n})" for c, n in zip(classes, count[:, 0], strict=True)])
    plain(axes, title, "predicted class", "true class (samples)")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    _color_bar(figure, axes, image, "share of the true class, %", shrink=0.8)
    save(figure, path)


def class_scores(
    path: PathLike,
    scores: Mapping[str, Float[np.ndarray, " classes"]],
    classes: Sequence[str],
    unit: str,
    title: str = "",
) -> None:
    """Bars of a score per class, 0 … 1 or NaN without samples; a color for each name, told by the legend."""
    figure = Figure(figsize=(2.5 + (0.45 + 0.36 * len(scores)) * len(classes), 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.84 / max(len(scores), 1)
    for k, ((name, of_classes), color) in enumerate(zip(scores.items(), _cycle(scores), strict=True)):
        share = 100 * of_classes
        x = np.arange(len(classes)) + (k - (len(scores) - 1) / 2) * width
        axes.bar(x, np.nan_to_num(share), 0.92 * width, color=color, label=name)
        for at, value in zip(x, share, strict=True):
            text = "no samples" if np.isnan(value) else f"{value:.0f}"
            turn = 90 if np.isnan(value) else 0
            axes.text(at, np.nan_to_num(value) + 1.5, text, ha="center", fontsize=9, color=INK, rotation=turn)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_ylim(0, 108)
    axes.set_yticks(range(0, 101, 20))
    plain(axes, title, "", f"{unit}, %")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    if len(scores) > 1:
        _legend(axes)
    save(figure, path)


def saliency(
    path: PathLike,
    clouds: Float[np.ndarray, "m n 3"],
    saliencies: Float[np.ndarray, "m n"],
    titles: Sequence[str],
    heading: str = "",
    *,
    levels: bool = True,
    azimuth: float = -60.0,
) -> None:
    """Clouds in a row (z up), colored by saliency   [SM-DSB, arXiv:2504.15796, Fig. 5].

    Three levels of equal width over [0, max of the cloud's map], negative saliency in the lowest; or,
    with `levels=False`, a continuous scale over the same range. A color bar tells either.

    Args:
      path: of the picture.
      clouds: m of them.
      saliencies: of their points.
      titles: of the clouds.
      heading: above all.
      levels: three colors, else a continuous scale.
      azimuth: of the view, in degrees.
    """
    figure = Figure(figsize=(3.1 * len(clouds), 3.9), layout="constrained")
    colors = ListedColormap(LEVELS) if levels else LinearSegmentedColormap.from_list("saliency", LEVELS)
    row = figure.subplots(1, len(clouds), squeeze=False)[0]
    for axes, cloud, map_, title in zip(row, clouds, saliencies, titles, strict=True):
        draw_cloud(axes, cloud, share_of_largest(map_), colors, azimuth)
        axes.set_title(title, fontsize=12, color=INK)
    saliency_scale(figure, row, colors)
    if heading:
        figure.suptitle(heading, fontsize=13, color=INK)
    save(figure, path)


def parts(
    path: PathLike,
    clouds: Float[np.ndarray, "m n 3"],
    labels: Mapping[str, Int[np.ndarray, "m n"]],
    names: Sequence[str],
    titles: Sequence[str],
    *,
    azimuth: float = -60.0,
) -> None:
    """Clouds in columns (z up), each point in the color of its part; a row for each of `labels`.

    Args:
      path: of the picture.
      clouds: of the columns.
      labels: name of the row → part of each point, an index into `names`.
      names: of the parts.
      titles: of the columns.
      azimuth: of the view, in degrees.
    """
    figure = Figure(figsize=(3.1 * len(clouds), 0.6 + 3.6 * len(labels)), layout="constrained")
    colors = part_colors(len(names))
    grid = figure.subplots(len(labels), len(clouds), squeeze=False)
    for row, (name, of_clouds) in zip(grid, labels.items(), strict=True):
        for axes, cloud, label in zip(row, clouds, of_clouds, strict=True):
            share = label / max(len(names) - 1, 1)
            draw_cloud(axes, cloud, share, colors, azimuth, size=np.full(len(cloud), 9.0))
        at = {"transform": row[0].transAxes, "rotation": 90, "va": "center"}
        row[0].text(-0.02, 0.5, name, fontsize=12, color=INK, **at)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=12, color=INK)
    dot = {"marker": "o", "markersize": 7, "linestyle": ""}
    marks = [Line2D([], [], color=color, **dot) for color in colors(range(len(names)))]
    place = {"loc": "outside lower center", "ncols": min(len(names), 4)}
    figure.legend(marks, names, frameon=False, fontsize=11, labelcolor=INK, **place)
    save(figure, path)


def part_colors(count: int) -> ListedColormap:
    """A color for each of `count` parts; those of `COLORS` first, then repeated."""
    return ListedColormap([PART_COLORS[k % len(PART_COLORS)] for k in range(count)])


def share_of_largest(saliency: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A saliency map in [0, 1]: what it is of its largest value; negative saliency is 0."""
    largest = saliency.max()
    return np.clip(saliency / (largest if largest > 0 else 1), 0, 1)


def saliency_scale(figure: Figure, axes: Iterable[Axes], colors: Colormap) -> None:
    """The color bar of clouds' saliencies, below all axes; of three levels their names are in it."""
    width = min(4.6, 0.9 * figure.get_figwidth())
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), colors), ax=list(axes), location="bottom", pad=0.04,
        shrink=width / figure.get_figwidth(), aspect=width / 0.22,
    )  # fmt: skip
    bar.set_ticks([0, 1 / 3, 2 / 3, 1], labels=["0 or less", "1/3", "2/3", "1"])
    bar.set_label("saliency / its maximum in the cloud", fontsize=11, color=INK)
    bar.ax.tick_params(labelsize=10, colors=INK, length=0)
    bar.outline.set_visible(False)
    if colors.N == len(LEVELS):
        for k, name in enumerate(LEVEL_NAMES):
            ink = "white" if name == "high" else INK
            bar.ax.text((k + 0.5) / 3, 0.5, name, ha="center", va="center_baseline", fontsize=10, color=ink)


def draw_cloud(
    axes: Axes,
    cloud: Float[np.ndarray, "n 3"],
    share: Float[np.ndarray, " n"],
    colors: Colormap,
    azimuth: float,
    elevation: float = 18.0,
    size: Float[np.ndarray, " n"] | None = None,
) -> None:
    """The cloud without perspective, seen from above (angles in degrees); the nearer in front and darker.

    `share` of the color scale, in [0, 1]; `size` of the points in points², by default growing with it.
    """
    a, e = np.deg2rad((azimuth, elevation))
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    back = -np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])  # away from the viewer
    x, y, depth = (cloud @ np.stack([right, np.cross(right, back), back], axis=1)).T
    order = np.argsort(-depth)
    far = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-9)
    color = colors(share)
    color[:, :3] += (1 - color[:, :3]) * 0.35 * far[:, None]
    by_share = np.clip(14e3 / len(cloud), 3, 60) * (1 + share)  # the salient points are few
    area = by_share if size is None else size
    axes.scatter(x[order], y[order], c=color[order], s=area[order], linewidths=0)
    half = 0.53 * max(float(np.ptp(x)), float(np.ptp(y)), 1e-6)
    axes.set_xlim((x.max() + x.min()) / 2 - half, (x.max() + x.min()) / 2 + half)
    axes.set_ylim((y.max() + y.min()) / 2 - half, (y.max() + y.min()) / 2 + half)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _series(records: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of what was recorded under a name; null is NaN."""
    found = [(r["step"], np.nan if r[name] is None else r[name]) for r in records if name in r]
    step, value = np.array(found, float).T
    return step, value


def _running_mean(value: np.ndarray) -> np.ndarray:
    """Mean over the last 5 % of the records, at least one; NaN counts for nothing."""
    window = max(1, len(value) // 20)
    known = np.isfinite(value)
    total, count = (np.cumsum(np.where(known, v, 0)) for v in (value, np.ones_like(value)))
    total[window:], count[window:] = total[window:] - total[:-window], count[window:] - count[:-window]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _line(axes: Axes, step: np.ndarray, value: np.ndarray, color: str, **look: Any) -> None:
    axes.plot(step, value, color=color, solid_capstyle="round", **look)


def log_scale(axes: Axes) -> None:
    """Make y logarithmic, with ticks that are written as 0.1, 1, 10, and none between them."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(_LogTicks())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> Float[np.ndarray, " ticks"]:
    """Ticks of a logarithmic axis: powers of 10; where these are fewer than 3, 1, 2 and 5 times such.

    Of these fewer than 3 too, steps of equal size. Of many powers every second, third, … is taken.
    """
    powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    powers = powers[:: max(1, len(powers) // 6)]
    for digits in ((1.0,), (1.0, 2.0, 5.0)):
        ticks = np.outer(10.0**powers, digits).ravel()
        ticks = ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]
        if len(ticks) >= 3:
            return ticks
    ticks = np.asarray(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high))
    return ticks[(ticks >= low) & (ticks <= high) & (ticks > 0)]


class _LogTicks(Locator):
    """`log_ticks` of what the axis shows when it is drawn."""

    def __call__(self) -> Float[np.ndarray, " ticks"]:
        if self.axis is None:  # it is of no axis yet
            return np.zeros(0)
        low, high = sorted(self.axis.get_view_interval())
        return log_ticks(low, high)


def mark_stage(axes: Axes, step: int, text: str) -> None:
    """A dashed line where a stage begins, its name beside it, on the side with more room."""
    axes.axvline(step, color="#777777", linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    low, high = axes.get_xlim()
    left = step > (low + 2 * high) / 3
    note = axes.annotate(
        text, (step, 1), xycoords=("data", "axes fraction"), xytext=(-5 if left else 5, -4),
        textcoords="offset points", ha="right" if left else "left", va="top", fontsize=10, color="#777777",
    )  # fmt: skip
    note.set_path_effects(
        [withStroke(linewidth=3, foreground="white")]
    )  # readable where a curve goes through


def _legend(axes: Axes) -> None:
    """In the line of the title, where nothing is drawn."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=10, frameon=False, fontsize=10,
        labelcolor=INK, borderaxespad=0.3, handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip


def _cycle(names: Sequence[str] | Mapping[str, Any]) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(names))]


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", ", ")


def plain(axes: Axes, title: str, x: str, y: str) -> None:
    """Readable sizes, and no more lines than needed."""
    axes.set_title(title, fontsize=13, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=11, color=INK)
    axes.set_ylabel(y, fontsize=11, color=INK)
    axes.tick_params(labelsize=10, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def _color_bar(figure: Figure, axes: Any, image: ScalarMappable, label: str, **place: Any) -> None:
    bar = figure.colorbar(image, ax=axes, aspect=28, pad=0.02, **place)
    bar.set_label(label, fontsize=11, color=INK)
    bar.ax.tick_params(labelsize=10, colors=INK)
    bar.outline.set_visible(False)


def save(figure: Figure, path: PathLike) -> None:
    """Write the figure in the format of the path's suffix."""
    FigureCanvasAgg(figure)  # no display, no state shared with pyplot
    with whole_file(path) as part, warnings.catch_warnings(), rc_context({"text.parse_math": False}):
        for text in figure.findobj(Text):
            text.set_parse_math(False)  # a class or a file may be named $x$, or what is no formula at all
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in another script
        figure.savefig(part, dpi=DPI, bbox_inches="tight", pad_inches=0.12)
