"""What each examined checkpoint is like, beside the leaderboard: `checkpoints.csv`."""

import numpy as np

from smdsb_jax.analysis.examine import Measured
from smdsb_jax.analysis.examined import SOURCE, TARGET, TARGET_TRUE, Examined

Row = dict[str, str | int | float | None]


def describe(e: Examined, measured: Measured) -> list[Row]:
    """Of each domain how right the network is, how flat its maps are, and how its gradients lie.

    `accuracy` is under true labels, of the examined training samples (None where labels are of points),
    `saliency_zero` and `saliency_flat` are the mean shares of `examine.saliency_shares`; of `gain` and
    `dot_o` there are mean and standard deviation over the samples. The columns `cos …` are cosines of mean
    gradients, the same in both domains.
    """
    rows: list[Row] = []
    for domain, labels in ((SOURCE, SOURCE), (TARGET, TARGET_TRUE)):
        here, true = e.domain == domain, e.domain == labels
        per_point = len(e.classes) == 1
        row: Row = {"checkpoint": e.name, "domain": domain, "samples": int(here.sum())}
        row["accuracy"] = None if per_point else float(np.mean((e.predicted == e.label)[true]))
        row |= {f"saliency_{name}": float(v[here].mean()) for name, v in e.saliency_shares.items()}
        for name in ("gain", "dot_o"):
            values = e.measures[name][here]
            row |= {f"{name}_mean": float(values.mean()), f"{name}_std": float(values.std())}
        rows.append(row | {f"cos {name}": float(value) for name, value in measured.angles.items()})
    return rows
