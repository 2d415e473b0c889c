import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import smdsb_jax
from smdsb_jax.datasets import embedded
from smdsb_jax.network import classify, cross_entropy
from smdsb_jax.saliency import saliency
from smdsb_jax.statistics.skewness import skewness
from smdsb_jax.summary import confusion_of
from smdsb_jax.train_loop import train_and_evaluate
from tests.tiny_run import tiny_config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_and_evaluate(tiny_config(), tmp_path_factory.mktemp("run")).workdir


@pytest.fixture(scope="module")
def model(workdir):
    return smdsb_jax.load(workdir)


@pytest.fixture(scope="module")
def split():
    test = embedded.load("", "scan", points=32).test
    return test._replace(points=test.points[:6], label=test.label[:6])


def test_load_takes_the_checkpoint_that_is_asked_for(workdir, model):
    assert (model.stage, model.step) == (2, 6) and len(model.classes) == 7
    assert model.config.encoder.layers == (8, 8, 8, 8)
    first = smdsb_jax.load(workdir, "last", stage=1)
    assert (first.stage, first.step) == (1, 6)
    numbered = smdsb_jax.load(workdir, "12")
    assert (numbered.stage, numbered.step) == (2, 6)
    for selection in ("best_source_val", "oracle_target_test"):
        assert smdsb_jax.load(workdir, selection, 1).step in (3, 6)
    kernels = [m.variables["params"]["encoder"]["conv1"]["dense"]["kernel"] for m in (model, numbered, first)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


@pytest.mark.parametrize(
    "selection, words",
    [("99", r"no checkpoint of step 99\. There are: .*12"), ("best", "'best' is not known: one of last")],
)
def test_what_a_run_lacks_is_refused(workdir, selection, words):
    with pytest.raises(ValueError, match=words):
        smdsb_jax.load(workdir, selection)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not the workdir of a run"):
        smdsb_jax.load(tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_predict_refuses_what_is_not_finite_and_names_the_cloud(model, split):
    clouds = np.array(split.points)
    clouds[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match="cloud 3 has a coordinate that is NaN"):
        smdsb_jax.predict(model, clouds)


def test_predict_gives_probabilities_in_any_unit_and_place(model, split):
    clouds = split.points[:, :32]
    found = smdsb_jax.predict(model, clouds)
    assert found.shape == (6, 7) and (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    moved = smdsb_jax.predict(model, 250 * clouds + np.float32([3, -2, 1]))
    np.testing.assert_allclose(moved, found, rtol=1e-3, atol=1e-5)
    assert len(np.unique(found, axis=0)) == 6


def test_a_cloud_with_fewer_points_than_the_network_wants_is_classified(model, split):
    few = split.points[:, :8]
    # every point four times: the maximum over points is that of the eight
    np.testing.assert_allclose(
        smdsb_jax.predict(model, few), smdsb_jax.predict(model, np.tile(few, (1, 4, 1))), rtol=1e-5
    )


def test_samples_hold_the_saliency_of_each_clouds_own_loss(model, split):
    points = split.points[:, :32]
    found = smdsb_jax.samples(model, points, split.label)

    def summed(points):
        logits, _, _ = classify(model.network, model.variables, points)
        return jnp.sum(cross_entropy(logits, jnp.asarray(split.label)))

    gradient = jax.jit(jax.grad(summed))(jnp.asarray(points))
    expected = jax.vmap(lambda p, g: saliency(p, g, 1.0))(jnp.asarray(points), gradient)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.saliency, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(found.saliency).max() > 1e-4 and found.embedding.shape == (6, 16)
    np.testing.assert_array_equal(found.label, split.label)


def test_score_takes_a_name_or_a_function(model, split):
    points = split.points[:, :32]
    named = smdsb_jax.score(model, points, split.label)
    np.testing.assert_array_equal(named, smdsb_jax.score(model, points, split.label, skewness))
    own = smdsb_jax.score(model, points, split.label, lambda sample: jnp.max(sample.saliency))
    seen = smdsb_jax.samples(model, points, split.label)
    np.testing.assert_allclose(own, np.max(seen.saliency, axis=1), rtol=1e-6)
    with pytest.raises(ValueError, match="Did you mean 'skewness'"):
        smdsb_jax.score(model, points, split.label, "skewnes")


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_model_is_used_at_the_precision_of_its_run(model, split, monkeypatch, precision):
    seen = []

    def classify_and_note(*args, **kwargs):
        seen.append(jax.config.values["jax_default_matmul_precision"])
        return classify(*args, **kwargs)

    for module in ("network", "evaluation"):
        monkeypatch.setattr(f"smdsb_jax.{module}.classify", classify_and_note)
    config = ConfigDict(model.config.to_dict())
    config.matmul_precision = precision
    model, points = model._replace(config=config), split.points[:, :32]
    uses = [
        lambda: smdsb_jax.predict(model, points),
        lambda: smdsb_jax.samples(model, points, split.label),
        lambda: smdsb_jax.score(model, points, split.label),
        lambda: confusion_of(model, split),
    ]
    for use in uses:
        before = len(seen)
        use()
        assert set(seen[before:]) == {precision}

    def matrix_statistic(sample):
        seen.append(jax.config.values["jax_default_matmul_precision"])
        return jnp.sum(sample.points @ sample.points.T)

    smdsb_jax.score(model, points, split.label, matrix_statistic)
    assert seen[-1] == precision
