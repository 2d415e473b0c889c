import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import smdsb_jax
from smdsb_jax.datasets.domain import normalize, to_count
from smdsb_jax.export.network import about, logits_of, package, preprocessing
from tests.export.small_model import small_model


def test_after_the_preprocessing_that_is_told_the_softmax_of_the_logits_is_what_predict_says():
    model = small_model("pointnet", 32)
    assert "; 32 points" in preprocessing(model)
    raw = 40 * np.random.default_rng(0).normal(size=(20, 3)) + [1e3, 5, -7]  # fewer than the network gets
    prepared = to_count(normalize(raw), 32)
    logits = np.asarray(jax.jit(logits_of(model))(prepared[None]))[0].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert 0.1 < np.ptp(expected) < 0.99
    np.testing.assert_allclose(smdsb_jax.predict(model, raw), expected, rtol=1e-3)


def test_what_a_reader_must_know_is_text():
    found = about(small_model("dgcnn"))
    assert all(isinstance(value, str) for value in found.values())
    assert json.loads(found["encoder"])["layers"] == [8, 12]
    assert (json.loads(found["classes"]), found["points"]) == (["bed", "chair", "sofa"], "600")
    assert (
        found["preprocessing"]
        == "float32, z up; minus the mean of all points; divided by the largest distance "
        "to it; 600 points, by farthest point sampling; fewer are repeated in order"
    )


def test_clouds_that_training_leaves_in_their_unit_are_left_so():
    model = small_model("pointnet")
    config = ConfigDict(model.config.to_dict())
    config.data.normalize = "none"
    assert "in the unit of the training data; 600" in preprocessing(model._replace(config=config))


def test_a_package_that_is_not_there_is_told_with_the_remedy():
    with pytest.raises(ValueError, match=r"needs the package absent_package \(.*\): pip install it"):
        package("absent_package", "pip install it")
