"""Names, configurations and clouds of the contenders."""

import numpy as np
import pytest

from benchmarks import contenders
from benchmarks.contenders import CONTENDERS, DEFAULT, Setting, choose_contenders, config_of, random_batch


def test_torch_eager_is_the_baseline_of_the_default_ones():
    assert choose_contenders([], "", torch=True) == (list(DEFAULT), "torch eager")


def test_without_torch_ours_are_left_and_the_first_is_the_baseline():
    names, baseline = choose_contenders([], "", torch=False)
    assert baseline == names[0] and {CONTENDERS[name].framework for name in names} == {"jax"}


def test_a_baseline_takes_part():
    assert choose_contenders(["jax no selection"], "jax mask shared", torch=True) == (
        ["jax mask shared", "jax no selection"], "jax mask shared",
    )  # fmt: skip


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"--contenders = 'jax mask'.*Did you mean.*Known: jax gather per_sample"
    ):
        choose_contenders(["jax mask"], "", torch=True)
    with pytest.raises(ValueError, match="--baseline = 'best'"):
        choose_contenders([], "best", torch=True)


def test_torch_alone_without_torch_says_how_to_get_it():
    with pytest.raises(ValueError, match="pip install torch"):
        choose_contenders(["torch eager"], "torch compiled", torch=False)


def test_torch_is_looked_for(monkeypatch):
    monkeypatch.setattr(contenders.util, "find_spec", lambda name: None)
    assert not contenders.has_torch()


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_has_a_valid_configuration(name):
    setting = Setting("dgcnn", tnet=True, batch=4, points=512)
    config = config_of(setting, CONTENDERS[name])
    assert config.encoder.input_tnet and config.batch_size == 4
    assert ("gather" in name) == (config.selection.execution == "gather")
    assert ("no selection" in name) == (config.selection.statistic == "none")
    assert ("per_sample" in name) == (config.saliency.mode == "per_sample") or "no selection" in name


def test_neighbors_and_width_may_differ_from_the_published_ones():
    config = config_of(Setting(k=7, width=0.5), CONTENDERS["torch eager"])
    assert (config.encoder.k, config.encoder.layers, config.encoder.embedding) == (7, (32, 32, 64, 128), 512)
    assert config_of(Setting("pointnet", width=2), CONTENDERS["torch eager"]).encoder.embedding == 2048
    assert config_of(Setting(), CONTENDERS["torch eager"]).encoder.k == 20


@pytest.mark.parametrize("stage", [1, 2])
def test_the_clouds_are_normalized_and_the_same_for_all(stage):
    setting = Setting(batch=3, points=50, stage=stage)
    batch = random_batch(setting)
    for clouds in batch:
        assert clouds.points.shape == (3, 50, 3) and clouds.points.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(clouds.points, axis=-1).max(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(clouds.points.mean(axis=1), 0, atol=1e-6)
    assert (batch.target.label is None) == (stage == 1) == (batch.target.weight is None)
    np.testing.assert_array_equal(batch.source.points, random_batch(setting).source.points)
