"""What a run came to: tables and pictures from its checkpoints, also long after it ended."""

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from smdsb_jax.augment import follow
from smdsb_jax.build import load_domain, load_target
from smdsb_jax.datasets.domain import Split, labelled
from smdsb_jax.inference import Model, apply_statistic, load, measure, taken_points
from smdsb_jax.metrics import confusion_matrix, shape_confusions, shape_iou
from smdsb_jax.report import pictures
from smdsb_jax.report.tables import Selected, per_class_table, summary_table
from smdsb_jax.run import checkpoint
from smdsb_jax.run.evaluation import eval_batch_size, jit_eval_step, labels_and_predictions
from smdsb_jax.run.records import RECORDS
from smdsb_jax.scores import SELECT_BY, choice_of, names_of
from smdsb_jax.statistics import find_statistic
from smdsb_jax.trackers import TRACKERS


def selected_rows(workdir: str | Path) -> list[Selected]:
    """Every stage's checkpoints by every way of choosing that has its score, with all their scores.

    The ways are those of `SELECT_BY`, and the run's own.
    """
    rows = []
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        own = [checkpoint.info(checkpointer).config["select_by"]] if checkpointer.checkpoints else []
        stages = sorted({checkpoint.info(checkpointer, c.step).stage for c in checkpointer.checkpoints})
        for stage in stages:
            for select_by in dict.fromkeys((*SELECT_BY, *own)):
                with contextlib.suppress(ValueError):  # a score that no checkpoint has
                    step, note = checkpoint.chosen(checkpointer, select_by, stage)
                    found = checkpoint.info(checkpointer, step)
                    scores = {name: found.metrics[name] for name in names_of(found.metrics)}
                    rows.append(Selected(stage, select_by, found.step, scores, note))
    return rows


def write_summary(workdir: str | Path, allow: Collection[str] = ()) -> str:
    """Write the pictures of a run into its folder; returns the tables and the paths of what was written.

    A target without labelled test clouds has no confusion matrix and no accuracies: they are left out.
    `allow` is as for `smdsb_jax.load`.
    """
    workdir = Path(workdir)
    rows = selected_rows(workdir)
    models = [load(workdir, stage=stage, allow=allow) for stage in sorted({row.stage for row in rows})]
    config, classes = models[-1].config, models[-1].classes
    test = labelled(load_target(config, classes).test)
    select_by = config.select_by
    chosen = "last step" if select_by == "last" else choice_of(select_by).title
    names = [f"stage {model.stage}, {chosen}" for model in models]
    title = f"{config.data.source} → {config.data.target}, target test"
    pictures.curves(workdir / "curves.png", workdir / RECORDS)
    by_class, task = [], models[-1].network.task
    if len(test.label):
        found = {name: judge(model, test) for name, model in zip(names, models, strict=True)}
        last = found[names[-1]]
        draw_judged(workdir, models[-1], test, last, f"{title}, {names[-1]}")
        of_classes = {name: task.of_classes(judged.confusion(len(classes))) for name, judged in found.items()}
        path = workdir / f"class_{task.class_score.lower()}.png"
        pictures.class_scores(path, of_classes, classes, task.class_score, title)
        by_class = [f"\n{title}, {names[-1]}:", per_class_table(classes, *last, task)]
    draw_saliency(workdir / "saliency.png", models[-1], load_domain(config, "source").val)
    written = (
        "config.json",
        RECORDS,
        *(of.writes for of in TRACKERS.values() if of.writes and (workdir / of.writes).exists()),
        "checkpoints",
        *sorted(p.name for p in workdir.glob("*.png")),
    )
    return "\n".join(
        [
            f"\nScores in %, {config.data.source} → {config.data.target}:",
            summary_table(rows, select_by),
            *(f"Stage {row.stage}: {row.note}." for row in rows if row.note),
            *by_class,
            "\nWritten:",
            *(f"  {workdir / name}" for name in written),
        ]
    )


class Judged(NamedTuple):
    """True and predicted classes of a split's clouds, or of those of their points that the network got."""

    label: Int[np.ndarray, "n *points"]
    prediction: Int[np.ndarray, "n *points"]

    def confusion(self, classes: int) -> Int[np.ndarray, "classes classes"]:
        """Rows true, columns predicted."""
        return confusion_matrix(self.label.ravel(), self.prediction.ravel(), classes)


def judge(model: Model, split: Split) -> Judged:
    """A model on a labelled split."""
    step = jit_eval_step(model.config, len(model.classes))
    return Judged(*labels_and_predictions(step, model.variables, split, eval_batch_size(model.config)))


def draw_judged(folder: Path, model: Model, split: Split, judged: Judged, title: str) -> list[Path]:
    """The confusion matrix and, where points have labels, the best, the median and the worst shape."""
    written = [folder / "confusion.png"]
    pictures.confusion(written[0], judged.confusion(len(model.classes)), model.classes, title)
    if judged.label.ndim > 1:
        written.append(folder / "parts.png")
        iou = shape_iou(shape_confusions(*judged, len(model.classes)))
        order = np.argsort(-iou)
        rows = order[[0, len(order) // 2, -1]]
        points = np.asarray(taken_points(model, split.points[rows]).points)
        labels = {"true": judged.label[rows], "predicted": judged.prediction[rows]}
        titles = [
            f"{word}, shape {row}\nIoU {100 * iou[row]:.1f} %"
            for word, row in zip(("best", "median", "worst"), rows, strict=True)
        ]
        pictures.parts(written[1], points, labels, model.classes, titles)
    return written


def draw_saliency(path: str | Path, model: Model, split: Split, candidates: int = 48) -> None:
    """The clouds with the lowest and the highest scores by the run's statistic.

    Skewness, if it has none, or one of pretext losses, which are not of the map that is drawn.
    """
    rows = np.random.default_rng(0).permutation(len(split.label))[:candidates]
    name = model.config.selection.statistic
    name = "skewness" if name == "none" or find_statistic(name).needs_pretext else name
    taken = taken_points(model, split.points[rows])
    points, label = np.asarray(taken.points), np.asarray(follow(split.label[rows], taken.rows))
    measured = measure(model, points, label, jax.random.split(jax.random.key(0), len(rows)))
    scores = apply_statistic(model, name, measured)
    order = np.argsort(scores)
    picked = np.concatenate([order[:2], order[-2:]])
    of_class = [f"{model.classes[label[i]]}\n" if label.ndim == 1 else "" for i in picked]
    titles = [f"{first}{name} {scores[i]:.1f}" for first, i in zip(of_class, picked, strict=True)]
    pictures.saliency(path, points[picked], np.asarray(measured.saliency)[picked], titles)
