import numpy as np
import pytest

from smdsb_jax.validators.components import components
from tests.validators.made_evidence import random_evidence


def test_all_directions_keep_the_distances_up_to_one_scale():
    evidence = random_evidence()
    source, target, val = components(evidence)
    assert source.shape == target.shape == val.shape == (60, 8)
    assert np.concatenate([source, target]).var(axis=0, ddof=1).mean() == pytest.approx(1)
    before = np.linalg.norm(evidence.source_train().embedding - evidence.target.embedding, axis=1)
    ratio = np.linalg.norm(source - target, axis=1) / before
    np.testing.assert_allclose(ratio, ratio[0])
