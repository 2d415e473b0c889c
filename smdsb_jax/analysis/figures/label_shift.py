"""Figure 7: what a wrong pseudo-label does to the skewness of a target cloud."""

import numpy as np
import scipy.stats
from matplotlib.figure import Figure

from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.analysis.outputs import Opened, by_name, open_run, outputs, per_cloud
from smdsb_jax.datasets.domain import labelled
from smdsb_jax.inference import score
from smdsb_jax.report.pictures import COLORS, plain

BINS = 40
PRINTED = 0.1  # by which the paper says pseudo-labels raise it


def label_shift(material: Material) -> dict[str, Drawn]:
    """Skewness of the target's training clouds under pseudo-labels and under the true ones, of stage 1.

    By each run's stage-1 network in inference mode, which gives the pseudo-labels as well. Where they are
    right both are the same, so that the mean difference over all clouds is the share of wrong labels times
    that over the wrongly labelled ones   [SM-DSB, arXiv:2504.15796, Fig. 7]. One picture per run.

    Raises:
      ValueError: a run without a stage 1, a target without labels, or with labels of points.
    """
    runs = [
        per_cloud(open_run(workdir, material.root, material.allow, 1), "fig7")
        for workdir in material.workdirs
    ]
    return {name: _of_run(run) for name, run in by_name(runs, material.workdirs).items()}


def _of_run(run: Opened) -> Drawn:
    split = labelled(run.target.train)
    found = outputs(run, split, f"the training clouds of {run.target.name}")
    pseudo = found.logits.argmax(axis=-1).astype(np.int32)
    of_pseudo = score(run.model, "skewness", split._replace(label=pseudo))
    of_true = score(run.model, "skewness", split)
    return drawn(run.name, of_pseudo, of_true, pseudo != found.label)


def drawn(name: str, of_pseudo: np.ndarray, of_true: np.ndarray, wrong: np.ndarray) -> Drawn:
    """The two distributions of one network.

    Args:
      name: of the run.
      of_pseudo: [n], skewness under pseudo-labels.
      of_true: [n], under the true ones.
      wrong: [n], whether the pseudo-label is another.
    """
    difference = of_pseudo - of_true
    both = np.concatenate([of_pseudo, of_true])
    edges = np.linspace(both.min(), both.max() + 1e-9, BINS + 1)
    figure = Figure(figsize=(7.4, 4.2), layout="constrained")
    axes = figure.subplots()
    kinds = {"true labels": of_true, "pseudo-labels": of_pseudo}
    for (label, values), color in zip(kinds.items(), COLORS, strict=False):
        axes.hist(values, edges, histtype="stepfilled", alpha=0.25, color=color)
        axes.hist(values, edges, histtype="step", linewidth=1.8, color=color, label=label)
    plain(axes, name, "skewness of the saliency map", "target training clouds")
    axes.legend(frameon=False)
    mean_wrong = float(difference[wrong].mean()) if wrong.any() else 0.0
    product, distance = wrong.mean() * mean_wrong, scipy.stats.ks_2samp(of_pseudo, of_true)[0]
    left_over = abs(product - difference.mean())
    left = float(np.abs(difference[~wrong]).max(initial=0.0))
    notes = [
        f"pseudo-labels move the mean skewness by {difference.mean():+.3f} (the paper says about {PRINTED}): "
        f"{100 * wrong.mean():.1f} % are wrong, by {mean_wrong:+.3f} on these, and {wrong.mean():.3f} · "
        f"{mean_wrong:+.3f} = {product:+.3f} (off by {left_over:.0e}). "
        f"Kolmogorov-Smirnov distance {distance:.3f}.",
        f"under a right label the two are the same (largest difference {left:.1g}), so that a shift of every "
        "cloud, as the paper's text has it, is impossible.",
    ]
    table: list[Row] = [
        {"pseudo_label": float(p), "true_label": float(t), "wrong": int(w)}
        for p, t, w in zip(of_pseudo, of_true, wrong, strict=True)
    ]
    return Drawn(figure, table, notes)
