"""Figure 3: confusion matrices of runs side by side, and what each class gains."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.analysis.outputs import Opened, open_run, outputs
from smdsb_jax.metrics import class_accuracy, confusion_matrix
from smdsb_jax.report.pictures import COLORS, INK, plain

MOST = 4  # matrices beside each other


def confusions(material: Material) -> dict[str, Drawn]:
    """The target's test clouds (of points: its points) by the first run and by others.

    Rows are true classes, each as shares of its samples; bars are the gain of each run over the first
    [SM-DSB, arXiv:2504.15796, Fig. 3]. One picture.

    Raises:
      ValueError: fewer than two runs, or more than four; runs of other classes or targets; no labels.
    """
    if not 2 <= len(material.workdirs) <= MOST:
        raise ValueError(
            f"it compares 2 to {MOST} runs, as one with and one without selection, not "
            f"{len(material.workdirs)}: give --workdir for each."
        )
    runs = [open_run(workdir, material.root, material.allow) for workdir in material.workdirs]
    if len({(run.model.classes, run.target.name) for run in runs}) > 1:
        raise ValueError("the runs have other classes or targets: give runs on the same.")
    classes = runs[0].model.classes
    matrices = []
    for run in runs:
        found = outputs(run, run.target.test, f"the test split of {run.target.name}")
        matrices.append(confusion_matrix(found.label.ravel(), found.logits.argmax(-1).ravel(), len(classes)))
    shares = np.stack([class_accuracy(matrix) for matrix in matrices])
    table: list[Row] = [
        {
            "class": name,
            "run": run.name,
            "samples": int(matrix[k].sum()),
            "right": share[k],
            "gain": share[k] - shares[0][k],
        }
        for run, matrix, share in zip(runs, matrices, shares, strict=True)
        for k, name in enumerate(classes)
    ]
    return {"all": Drawn(_figure(runs, matrices, shares), table, _notes(runs, shares))}


def _notes(runs: list[Opened], shares: Float[np.ndarray, "runs classes"]) -> list[str]:
    notes = [
        f"{run.name}: mean class accuracy {100 * np.nanmean(share):.1f} %."
        for run, share in zip(runs, shares, strict=True)
    ]
    for run, share in zip(runs[1:], shares[1:], strict=True):
        gain, classes = 100 * (share - shares[0]), run.model.classes
        best, worst = int(np.nanargmax(gain)), int(np.nanargmin(gain))
        notes.append(
            f"{run.name}, over the first: most for {classes[best]} ({gain[best]:+.1f} points), least for "
            f"{classes[worst]} ({gain[worst]:+.1f})."
        )
    return notes


def _figure(
    runs: list[Opened], matrices: list[np.ndarray], shares: Float[np.ndarray, "runs classes"]
) -> Figure:
    classes = runs[0].model.classes
    side = 1.6 + 0.42 * len(classes)
    figure = Figure(figsize=(side * len(runs), side + 2.9), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(side, 2.9))[:, 0]
    row = above.subplots(1, len(runs), squeeze=False)[0]
    for axes, run, matrix in zip(row, runs, matrices, strict=True):
        count = matrix.sum(axis=1, keepdims=True)
        share = np.where(count > 0, 100 * matrix / np.maximum(count, 1), np.nan)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for i, j in np.argwhere(np.nan_to_num(share) >= 0.5):
            color = "white" if share[i, j] > 55 else INK
            axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=8, color=color)
        axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        plain(axes, run.name.replace(", seed", ",\nseed"), "predicted class, % of the true one", "true class")
        axes.title.set_fontsize(9)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=9)
    axes = below.subplots()
    width = 0.8 / (len(runs) - 1)
    for number, (run, share) in enumerate(zip(runs[1:], shares[1:], strict=True)):
        at = np.arange(len(classes)) + (number - (len(runs) - 2) / 2) * width
        gain = 100 * (share - shares[0])
        axes.bar(at, np.nan_to_num(gain), 0.92 * width, color=COLORS[number], label=run.name)
        for k in np.flatnonzero(np.isnan(gain)):
            axes.text(at[k], 0, "no samples", rotation=90, ha="center", va="bottom", fontsize=8, color=INK)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(classes)), classes)
    plain(axes, "Gain over the first run", "", "points of the class's accuracy")
    if len(runs) > 2:
        axes.legend(frameon=False, fontsize=8)
    return figure
