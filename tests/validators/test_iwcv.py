import numpy as np
import pytest

from smdsb_jax.state import Predictions
from smdsb_jax.validators.iwcv import iwcv
from tests.validators.made_evidence import random_evidence


def test_domains_alike_have_the_accuracy_and_others_that_of_the_clouds_that_look_like_the_targets():
    evidence = random_evidence()
    right = evidence.source_val.logits.argmax(axis=1) == evidence.source_val_label
    alike = evidence._replace(source_train=lambda: evidence.target)
    assert iwcv(alike) == pytest.approx(right.mean())
    # right only where the target is: at 4, not at -4
    place = np.repeat([4.0, -4.0], 30)[:, None] * np.ones((60, 8))
    logits = np.where(place[:, :2] > 0, [1.0, 0.0], [0.0, 1.0])
    val = Predictions(logits, place + evidence.source_val.embedding)
    moved = Predictions(evidence.target.logits, 4 + evidence.target.embedding)
    both = evidence._replace(source_val=val, source_val_label=np.zeros(60, int), target=moved)
    assert iwcv(both._replace(source_train=lambda: val)) > 0.95
