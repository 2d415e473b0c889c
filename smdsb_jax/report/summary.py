"""What a run came to: tables and pictures from its checkpoints, also long after it ended."""

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from smdsb_jax.augment import follow
from smdsb_jax.build import build_parts, init_state, load_domain, load_target
from smdsb_jax.datasets.domain import Domain, Split, labelled
from smdsb_jax.inference import Model, apply_statistic, load, measure, taken_points
from smdsb_jax.metrics import confusion_matrix, shape_confusions, shape_iou
from smdsb_jax.report import pictures
from smdsb_jax.report.embedding import embeddings, spread_rows
from smdsb_jax.report.first_run import bars
from smdsb_jax.report.tables import Selected, per_class_table, summary_table
from smdsb_jax.run import checkpoint
from smdsb_jax.run.evaluation import eval_batch_size, jit_eval_step, labels_and_predictions, predict_split
from smdsb_jax.run.recorded import Recorded, read_recorded
from smdsb_jax.run.records import CONFIG, RECORDS
from smdsb_jax.scores import SELECT_BY, choice_of, choose, names_of
from smdsb_jax.state import Variables
from smdsb_jax.statistics import find_statistic
from smdsb_jax.trackers import TRACKERS

EMBEDDED = 125  # clouds of each domain in the picture of embeddings


def selected_rows(workdir: str | Path) -> list[Selected]:
    """Every stage's checkpoints by every way of choosing that has its score, with all their scores.

    The ways are those of `SELECT_BY`, and the run's own. Of a run whose checkpoints were removed, by its
    records.
    """
    if recorded := read_recorded(Path(workdir)):
        return _of_records(recorded)
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


def _of_records(recorded: Recorded) -> list[Selected]:
    rows = []
    for stage in sorted({evaluation.stage for evaluation in recorded.evaluations}):
        of_stage = [evaluation for evaluation in recorded.evaluations if evaluation.stage == stage]
        for select_by in dict.fromkeys((*SELECT_BY, recorded.config["select_by"])):
            if found := choose([evaluation.scores for evaluation in of_stage], select_by):
                best = of_stage[found.index]
                rows.append(Selected(stage, select_by, best.step, best.scores, found.note))
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
    target = load_target(config, classes)
    test = labelled(target.test)
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
    source = load_domain(config, "source")
    where = f"{config.data.source} (source) validation; {names[-1]}"
    draw_saliency(workdir / "saliency.png", models[-1], source.val, where)
    if not task.per_point:
        draw_embeddings(workdir / "embedding.png", models[-1], names[-1], source, target)
    written = (
        CONFIG,
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
            *bars(config, rows),
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


def draw_saliency(
    path: str | Path, model: Model, split: Split, where: str = "", candidates: int = 48
) -> None:
    """The clouds with the lowest and the highest scores by the run's statistic, and what they are taken for.

    Skewness, if it has none, or one of pretext losses, which are not of the map that is drawn. `where` they
    are from is in the heading.
    """
    rows = np.random.default_rng(0).permutation(len(split.label))[:candidates]
    name = model.config.selection.statistic
    name = "skewness" if name == "none" or find_statistic(name).needs_pretext else name
    taken = taken_points(model, split.points[rows])
    points, label = np.asarray(taken.points), np.asarray(follow(split.label[rows], taken.rows))
    measured = measure(model, points, label, jax.random.split(jax.random.key(0), len(rows)))
    scores, predicted = apply_statistic(model, name, measured), np.asarray(measured.logits).argmax(axis=-1)
    order = np.argsort(scores)
    picked = np.concatenate([order[:2], order[-2:]])
    titles = [f"{name} {scores[i]:.1f}" for i in picked]
    if label.ndim == 1:
        of_classes = [(model.classes[label[i]], model.classes[predicted[i]]) for i in picked]
        titles = [
            f"true {true}, predicted {found}\n{title}"
            for (true, found), title in zip(of_classes, titles, strict=True)
        ]
    heading = f"lowest and highest {name} of {len(rows)} clouds" + (f" of {where}" if where else "")
    pictures.saliency(path, points[picked], np.asarray(measured.saliency)[picked], titles, heading)


def draw_embeddings(path: str | Path, model: Model, name: str, source: Domain, target: Domain) -> None:
    """Embeddings of clouds of both domains by the encoder as the run's seed made it, and by the model's.

    Of the source's test clouds (validation, where it has none) and the target's (training, where it has
    none), at most EMBEDDED of each. A run that began with another one's network has no such beginning: it is
    shown as it ended. Nothing is drawn of fewer than 10 clouds, or of embeddings that are not finite.

    Args:
      path: of the picture.
      model: whose clouds have one label each.
      name: of the model.
      source: its domains.
      target: as the source.
    """
    splits = {
        "source": ("test", source.test) if len(source.test.label) else ("validation", source.val),
        "target": ("test", target.test) if len(target.test.label) else ("training", target.train),
    }
    parts = []
    for _, split in splits.values():
        rows = spread_rows(len(split.label), EMBEDDED)
        parts.append(Split(split.points[rows], split.label[rows]))
    label = np.concatenate([part.label for part in parts])
    networks = {f"after: {name}": model.variables}
    if not model.config.init_from:
        networks = {"before: untrained": initial_variables(model)} | networks
    step, batch = jit_eval_step(model.config, len(model.classes)), eval_batch_size(model.config)
    found = {
        title: np.concatenate(
            [predict_split(step, variables, p.points, batch).predictions.embedding for p in parts]
        )
        for title, variables in networks.items()
    }
    if len(label) < 10 or not all(np.isfinite(features).all() for features in found.values()):
        return
    embeddings(
        path,
        found,
        label,
        np.repeat(list(splits), [len(part.label) for part in parts]),
        model.classes,
        [
            f"{domain.name} ({role}), {splits[role][0]}"
            for role, domain in zip(splits, (source, target), strict=True)
        ],
        f"{source.name} → {target.name}: embeddings of {len(label)} clouds (t-SNE)",
    )


def initial_variables(model: Model) -> Variables:
    """The encoder that stage 1 of a run began with, by its seed, in the variables of the model."""
    parts = build_parts(model.config, 1, len(model.classes))
    key = jax.random.fold_in(jax.random.key(model.config.seed), 1)  # as run/loop.py starts stage 1

    def encoder(key: jax.Array) -> Variables:  # the rest is not compiled: it would take twice as long
        made = init_state(parts, key).variables
        return {kind: {"encoder": trees["encoder"]} for kind, trees in made.items()}

    fresh = jax.jit(encoder)(key)
    return {kind: {**trees, **fresh[kind]} for kind, trees in model.variables.items()}
