import numpy as np
import pytest

from smdsb_jax.analysis.figures import FIGURES, Material
from smdsb_jax.analysis.figures.embedding import describe


def test_the_notes_are_of_the_embeddings():
    target = np.array([[0.0], [1.0], [10.0], [11.0]])
    source = np.array([[0.5], [100.0], [101.0], [102.0], [103.0]])
    features = np.concatenate([source, target])
    label = np.array([0, 0, 0, 1, 1, 0, 0, 1, 1])
    domain = np.repeat(["source", "target"], [5, 4])
    apart, mixed = describe(features, label, domain)
    assert "silhouette 0.900" in apart  # 0.89974937
    assert "33.3 % of the 3 nearest target clouds have a cloud's own class" in apart
    near = np.argsort(np.abs(features[5:] - features.T), axis=1)[:, 1:4]
    assert f"{100 * (near < 5).mean():.1f} % are of the source; 62.5 % if" in mixed


def test_a_run_is_mapped_with_both_domains(run):
    ((name, found),) = FIGURES["fig11"].draw(Material([run])).items()
    domains = [row["domain"] for row in found.table]
    assert set(domains) == {"source", "target"} and name.endswith("stage 2")
    place = np.array([[row["x"], row["y"]] for row in found.table])
    assert np.isfinite(place).all() and place.std() > 0
    drawn = sum(len(points.get_offsets()) for points in found.figure.axes[0].collections)
    assert drawn == len(found.table)


def test_labels_of_points_are_refused(segmented_run):
    with pytest.raises(ValueError, match="fig11 needs one label per cloud. Give a run of classification"):
        FIGURES["fig11"].draw(Material([segmented_run]))
