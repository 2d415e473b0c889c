"""Figure 11: the embeddings of both domains in two dimensions."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from smdsb_jax.analysis.figures.base import Drawn, Material, Row
from smdsb_jax.analysis.outputs import Opened, Outputs, by_name, open_run, outputs, per_cloud
from smdsb_jax.datasets.domain import labelled
from smdsb_jax.report.embedding import MARKS, add_legend, draw_places, spread_rows, tsne, unit_length

NEIGHBORS = 5
MOST = 1000  # clouds of each domain


def embedding(material: Material) -> dict[str, Drawn]:
    """t-SNE of test clouds of both domains; colors are true classes, marks domains.

    A source without test clouds has its validation clouds instead.
    Drawn as by `report/embedding.py`   [SM-DSB, arXiv:2504.15796, Fig. 11]. The map is to look at; the notes
    are of the embeddings themselves, each divided by its length. One picture per run.

    Raises:
      ValueError: a split without labels, labels of points, or too few clouds.
    """
    runs = [
        per_cloud(open_run(workdir, material.root, material.allow), "fig11") for workdir in material.workdirs
    ]
    return {name: _of_run(run) for name, run in by_name(runs, material.workdirs).items()}


def _of_run(run: Opened) -> Drawn:
    source = run.source.test if len(labelled(run.source.test).label) else run.source.val
    parts = {
        "source": outputs(run, source, f"the test and validation split of {run.source.name}"),
        "target": outputs(run, run.target.test, f"the test split of {run.target.name}"),
    }
    parts = {name: _some(part) for name, part in parts.items()}
    features = unit_length(np.concatenate([part.embedding for part in parts.values()]))
    label = np.concatenate([part.label for part in parts.values()])
    domain = np.repeat(list(parts), [len(part.label) for part in parts.values()])
    if len(label) < 10:
        raise ValueError(f"{run.name}: {len(label)} clouds are too few. Give a run on more data.")
    place = tsne(features)
    classes = run.model.classes
    table: list[Row] = [
        {"x": x, "y": y, "class": classes[k], "domain": str(d)}
        for (x, y), k, d in zip(place.tolist(), label, domain, strict=True)
    ]
    return Drawn(_figure(run.name, place, label, domain, classes), table, describe(features, label, domain))


def _some(part: Outputs) -> Outputs:
    """At most MOST clouds, evenly over the split."""
    rows = spread_rows(len(part.label), MOST)
    return Outputs(part.label[rows], part.logits[rows], part.embedding[rows])


def describe(
    features: Float[np.ndarray, "n d"], label: Int[np.ndarray, " n"], domain: np.ndarray
) -> list[str]:
    """How far the target's classes are apart, and whether the domains mix, in embeddings of length 1."""
    from sklearn.metrics import silhouette_score
    from sklearn.neighbors import NearestNeighbors

    target = domain == "target"
    own, classes = features[target], label[target]
    apart = silhouette_score(own, classes) if 1 < len(set(classes)) < len(classes) else np.nan
    count = min(NEIGHBORS, len(own) - 1)
    # the neighbors of points that were fitted leave out the points themselves
    of_target = NearestNeighbors(n_neighbors=count).fit(own).kneighbors(return_distance=False)
    agree = (classes[of_target] == classes[:, None]).mean()
    of_all = NearestNeighbors(n_neighbors=count).fit(features).kneighbors(return_distance=False)
    other = (domain[of_all] != domain[:, None])[target].mean()
    expected = (~target).sum() / (len(label) - 1)
    return [
        f"target, true classes: silhouette {apart:.3f} (1: apart, 0: overlapping), {100 * agree:.1f} % of "
        f"the {count} nearest target clouds have a cloud's own class.",
        f"of a target cloud's {count} nearest clouds {100 * other:.1f} % are of the source; "
        f"{100 * expected:.1f} % if the domains were one.",
    ]


def _figure(
    name: str,
    place: Float[np.ndarray, "n 2"],
    label: Int[np.ndarray, " n"],
    domain: np.ndarray,
    classes: tuple[str, ...],
) -> Figure:
    figure = Figure(figsize=(7.6, 6.4), layout="constrained")
    draw_places(figure.subplots(), name, place, label, domain, classes)
    add_legend(figure, classes, list(MARKS), without=False)
    return figure
