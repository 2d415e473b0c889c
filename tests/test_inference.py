import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import smdsb_jax
from smdsb_jax import inference
from smdsb_jax.datasets import embedded
from smdsb_jax.evaluation import predict_split
from smdsb_jax.network import classify, cross_entropy
from smdsb_jax.parts import jit_eval_step
from smdsb_jax.saliency import saliency
from smdsb_jax.statistics.skewness import skewness
from smdsb_jax.summary import confusion_of


@pytest.fixture(scope="module")
def model(tiny_run):
    return smdsb_jax.load(tiny_run)


@pytest.fixture(scope="module")
def split():
    test = embedded.load("", "scan", points=32).test
    return test._replace(points=test.points[:6], label=test.label[:6])


def test_load_takes_the_checkpoint_that_is_asked_for(tiny_run, model):
    assert (model.stage, model.step) == (2, 6) and len(model.classes) == 7
    assert model.config.encoder.layers == (8, 8, 8, 8)
    first = smdsb_jax.load(tiny_run, "last", stage=1)
    assert (first.stage, first.step) == (1, 6)
    numbered = smdsb_jax.load(tiny_run, "12")
    assert (numbered.stage, numbered.step) == (2, 6)
    for selection in ("best_source_val", "oracle_target_test"):
        assert smdsb_jax.load(tiny_run, selection, 1).step in (3, 6)
    kernels = [m.variables["params"]["encoder"]["conv1"]["dense"]["kernel"] for m in (model, numbered, first)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


@pytest.mark.parametrize(
    "selection, words",
    [("99", r"no checkpoint of step 99\. There are: .*12"), ("best", "'best' is not known: one of last")],
)
def test_what_a_run_lacks_is_refused(tiny_run, selection, words):
    with pytest.raises(ValueError, match=words):
        smdsb_jax.load(tiny_run, selection)


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


def stored_labels(model, train):
    """What the network makes of clouds as evaluation sees them."""
    step = jit_eval_step(model.config, len(model.classes))
    return predict_split(step, model.variables, train.points, 64).logits.argmax(axis=1)


@pytest.mark.parametrize("domain, name", [("source", "catalog"), ("target", "scan"), ("blend", "blend")])
def test_score_is_of_the_training_clouds_of_a_domain_under_the_labels_that_training_has(
    tiny_run, model, domain, name
):
    train = embedded.load("", name, points=32).train
    label = train.label if domain == "source" else stored_labels(model, train)
    points = train.points[:, np.arange(32) * train.points.shape[1] // 32]  # evenly spaced rows
    few = np.r_[:3, 64:67, len(label) - 3 : len(label)]  # of the first, the second and the last part
    seen = smdsb_jax.samples(model, points[few], label[few].astype(np.int32))
    found = smdsb_jax.score(tiny_run, lambda sample: sample.loss, domain)
    assert found.shape == (len(label),)
    np.testing.assert_allclose(found[few], seen.loss, rtol=1e-4)


def test_score_takes_a_run_or_a_model_and_a_name_or_a_function(tiny_run, model, split):
    named = smdsb_jax.score(model, "skewness", split)
    np.testing.assert_array_equal(named, smdsb_jax.score(str(tiny_run), domain=split))
    np.testing.assert_array_equal(named, smdsb_jax.score(model, skewness, split))
    own = smdsb_jax.score(model, lambda sample: jnp.max(sample.saliency), split)
    points = split.points[:, np.arange(32) * split.points.shape[1] // 32]
    np.testing.assert_allclose(
        own, smdsb_jax.samples(model, points, split.label).saliency.max(axis=1), rtol=1e-5
    )
    first = smdsb_jax.load(tiny_run, stage=1)
    assert not np.allclose(smdsb_jax.score(first, "loss", split), smdsb_jax.score(model, "loss", split))


def test_random_scores_do_not_repeat_in_the_next_part(model):
    scores = smdsb_jax.score(model, "random", "source")
    assert len(np.unique(scores)) > 0.99 * len(scores)


def raises(sample):
    raise IndexError("no\nsuch entry")


@pytest.mark.parametrize(
    "statistic, domain, words",
    [
        ("skewnes", "target", "Did you mean 'skewness'"),
        ("absent_module:f", "target", "'absent_module:f' cannot be imported"),
        (
            raises,
            "source",
            "The statistic raises raises IndexError: no .It gets one .*Sample and returns one float",
        ),
        (lambda s: jnp.sqrt(-1 - s.loss), "target", r"returns NaN for .* of scan .target. .first: sample 0."),
        (
            lambda s: jnp.log(0 * s.loss),
            "source",
            "returns infinity for 64 of 64 samples of catalog .source.",
        ),
        (lambda s: s.label, "source", r"returns int32\[\] for one sample; return one float"),
        ("loss", "scann", "Did you mean 'scan'"),
    ],
)
def test_what_cannot_be_scored_is_told_in_one_line(model, statistic, domain, words):
    with pytest.raises(ValueError, match=words) as told:
        smdsb_jax.score(model, statistic, domain)
    assert "\n" not in str(told.value)


def test_a_domain_with_other_classes_than_the_run_is_refused(model):
    fewer = model._replace(classes=model.classes[:-1])
    with pytest.raises(
        ValueError, match=r"blend has the classes bed, .*table, the run bed, .*sofa\."
    ) as told:
        smdsb_jax.score(fewer, "loss", "blend")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_model_is_used_at_the_precision_of_its_run(model, split, monkeypatch, precision):
    seen = []

    def classify_and_note(*args, **kwargs):
        seen.append(jax.config.values["jax_default_matmul_precision"])
        return classify(*args, **kwargs)

    for module in ("network", "evaluation"):
        monkeypatch.setattr(f"smdsb_jax.{module}.classify", classify_and_note)
    inference._compiled.cache_clear()  # what an earlier test compiled would note nothing
    config = ConfigDict(model.config.to_dict())
    config.matmul_precision = precision
    model, points = model._replace(config=config), split.points[:, :32]
    uses = [
        lambda: smdsb_jax.predict(model, points),
        lambda: smdsb_jax.samples(model, points, split.label),
        lambda: smdsb_jax.score(model, "loss", split._replace(points=points[:5], label=split.label[:5])),
        lambda: confusion_of(model, split),
    ]
    for use in uses:
        before = len(seen)
        use()
        assert set(seen[before:]) == {precision}

    def matrix_statistic(sample):
        seen.append(jax.config.values["jax_default_matmul_precision"])
        return jnp.sum(sample.points @ sample.points.T)

    smdsb_jax.score(model, matrix_statistic, split)
    assert seen[-1] == precision
