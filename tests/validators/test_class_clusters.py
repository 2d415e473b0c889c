import numpy as np
import pytest

from smdsb_jax.validators.class_clusters import class_ami, class_ss
from tests.validators.made_evidence import evidence_of

CLUSTERS = np.array([[0.0], [1.0], [10.0], [11.0]])


def test_what_clusters_as_it_is_classified_has_1():
    evidence = evidence_of([[1, 0], [1, 0], [0, 1], [0, 1]], CLUSTERS)
    assert class_ami(evidence) == pytest.approx(1)
    assert class_ss(evidence) == pytest.approx(0.89974937, abs=1e-8)


def test_what_is_classified_across_the_clusters_has_none():
    evidence = evidence_of([[1, 0], [0, 1], [1, 0], [0, 1]], CLUSTERS)
    assert class_ami(evidence) <= 0
    assert class_ami(evidence_of([[1, 0]] * 4, CLUSTERS)) == 0  # one class, whatever the clusters


def test_degenerate_embeddings():
    same = evidence_of(np.eye(3), np.ones((3, 2)))
    assert class_ss(same) == -1
    with pytest.raises(ValueError, match=r"3 clusters need as many clouds: raise config\.validators\.clouds"):
        class_ami(evidence_of(np.eye(3)[:2]))
