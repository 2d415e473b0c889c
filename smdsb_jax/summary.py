"""What a run came to: tables and pictures from its checkpoints, also long after it ended."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from smdsb_jax import checkpoint, pictures
from smdsb_jax.checkpoint import SELECTIONS, SOURCE_VAL, TARGET_TEST
from smdsb_jax.datasets.domain import Split, to_count
from smdsb_jax.evaluation import evaluate
from smdsb_jax.inference import Model, apply_statistic, load, samples
from smdsb_jax.parts import eval_batch_size, jit_eval_step, load_domain
from smdsb_jax.report import RECORDS, Selected, per_class_table, summary_table


def selected_rows(workdir: str | Path) -> list[Selected]:
    """Every stage's checkpoints by every selection, with their accuracies."""
    rows = []
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        stages = sorted({checkpoint.info(checkpointer, c.step).stage for c in checkpointer.checkpoints})
        for stage in stages:
            for selection in SELECTIONS:
                found = checkpoint.info(checkpointer, checkpoint.select(checkpointer, selection, stage))
                scores = [found.metrics.get(name, float("nan")) for name in (SOURCE_VAL, TARGET_TEST)]
                rows.append(Selected(stage, selection, found.step, *scores))
    return rows


def write_summary(workdir: str | Path, allow: Collection[str] = ()) -> str:
    """Write the pictures of a run into its folder; returns the tables and the paths of what was written.

    `allow` is as for `smdsb_jax.load`.
    """
    workdir = Path(workdir)
    rows = selected_rows(workdir)
    models = [load(workdir, "last", stage, allow=allow) for stage in sorted({row.stage for row in rows})]
    target = load_domain(models[-1].config, "target")
    names = [f"stage {model.stage}, last step" for model in models]
    confusions = dict(zip(names, [confusion_of(model, target.test) for model in models], strict=True))
    title = f"{models[-1].config.data.source} → {models[-1].config.data.target}, target test"
    pictures.curves(workdir / "curves.png", workdir / RECORDS)
    pictures.confusion(
        workdir / "confusion.png", confusions[names[-1]], target.classes, f"{title}, {names[-1]}"
    )
    pictures.class_accuracy(workdir / "class_accuracy.png", confusions, target.classes, title)
    draw_saliency(workdir / "saliency.png", models[-1], load_domain(models[-1].config, "source").val)
    written = (
        "config.json",
        RECORDS,
        "tensorboard",
        "checkpoints",
        *sorted(p.name for p in workdir.glob("*.png")),
    )
    return "\n".join(
        [
            f"\nAccuracy in %, {models[-1].config.data.source} → {models[-1].config.data.target}:",
            summary_table(rows),
            f"\n{title}, {names[-1]}:",
            per_class_table(target.classes, confusions[names[-1]]),
            "\nWritten:",
            *(f"  {workdir / name}" for name in written),
        ]
    )


def confusion_of(model: Model, split: Split) -> np.ndarray:
    """Confusion matrix of a model on a split: rows true, columns predicted."""
    step = jit_eval_step(model.config, len(model.classes))
    return evaluate(step, model.variables, split, eval_batch_size(model.config), len(model.classes))


def draw_saliency(path: str | Path, model: Model, split: Split, candidates: int = 48) -> None:
    """The clouds with the lowest and the highest scores by the run's statistic (skewness if it has none)."""
    rows = np.random.default_rng(0).permutation(len(split.label))[:candidates]
    name = model.config.selection.statistic
    name = "skewness" if name == "none" else name
    # evenly spaced rows: stored orders may follow the shape, so that the first ones are a part of it
    points = np.stack([to_count(cloud, model.config.data.points) for cloud in split.points[rows]])
    seen = samples(model, points, split.label[rows])
    scores = apply_statistic(model, name, seen)
    order = np.argsort(scores)
    picked = np.concatenate([order[:2], order[-2:]])
    titles = [f"{model.classes[split.label[rows[i]]]}\n{name} {scores[i]:.1f}" for i in picked]
    pictures.saliency(path, points[picked], np.asarray(seen.saliency)[picked], titles)
