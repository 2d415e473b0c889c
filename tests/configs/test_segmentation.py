"""Configurations of data whose points have labels: PointSegDA and the embedded bodies."""

import itertools

import pytest

from smdsb_jax import resolve
from smdsb_jax.configs import bodies, pointsegda, segmentation
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.flags import load_config


@pytest.mark.parametrize("method", segmentation.METHODS)
def test_every_direction_budget_and_encoder_resolves(method):
    words = [f"pointsegda.py:{d}" for d in pointsegda.DIRECTIONS]
    words += [f"bodies.py:{d},budget={b}" for d, b in itertools.product(bodies.DIRECTIONS, bodies.BUDGETS)]
    words += [f"pointsegda.py:f2a,encoder={e}" for e in ENCODERS]
    words += [f"bodies.py:m2s,encoder={e}" for e in ENCODERS]
    for word in words:
        config = resolve(load_config(f"configs/{word},method={method}"))
        assert (config.task.name, config.stages) == ("segmentation", (1,))
        assert (config.data.source == config.data.target) == (method == "oracle")


def test_the_published_number_of_steps_is_200_epochs_of_the_smaller_domain():
    assert len(pointsegda.DIRECTIONS) == 12
    for direction in pointsegda.DIRECTIONS:
        config = pointsegda.get_config(direction)
        epoch = 1 if "a" in direction else 3 if "s" in direction else 4
        assert config.stage1.steps == 200 * epoch, direction
        assert (config.batch_size, config.batch_is_total, config.data.points) == (16, False, 2048)
    assert pointsegda.get_config("f2a,steps=2000").stage1.steps == 2000


def test_defrec_as_the_paper_has_it_and_as_its_authors_released_it():
    defrec, pcm = (pointsegda.get_config(f"m2f,method={m}") for m in ("defrec", "defrec_pcm"))
    task = defrec.pretext
    assert (task.name, task.radius, task.min_share, task.noise_variance) == (
        "defrec_radius",
        0.5,
        20 / 2048,
        0.001,
    )
    assert (task.scale, task.weight, defrec.classification.weight) == (20.0, 0.05, 0.95)
    assert task.on_source and task.head_bias and defrec.encoder.name == "dgcnn_segmentation"
    assert defrec.optimizer.to_dict() == {
        "name": "adam", "learning_rate": 1e-3, "weight_decay": 5e-5, "schedule": "cosine",
    }  # fmt: skip
    assert (defrec.classification.mixup, pcm.classification.mixup) == ("none", "pcm")


def test_mlsp_has_its_constants_of_points_and_the_radius_of_the_target():
    radii = {d: pointsegda.get_config(f"{d},method=mlsp").pretext.count_radius for d in ("f2a", "a2f", "a2m")}
    assert radii == {"f2a": 0.0872, "a2f": 0.091, "a2m": 0.124}
    alone, selected = (pointsegda.get_config(f"f2s,method=mlsp,selection={s}") for s in ("none", "skewness"))
    assert (alone.pretext.on_source, selected.pretext.on_source) == (False, True)
    task = alone.pretext
    assert (task.count_radius, task.count_bins, task.count_width, task.count_shift) == (0.115, 16, 5, 10)
    assert (task.normal_neighbors, task.masked_weight, task.position_bias) == (10, 2.0, True)
    assert task.position_weight == task.normal_weight == task.cardinality_weight == 0.02
    assert (task.min_share, task.weight, alone.classification.weight) == (40 / 2048, 1.0, 0.98)
    assert alone.classification.mixup == "none"


@pytest.mark.parametrize(
    "config, arg, words",
    [
        (pointsegda, "f2x", "config option direction = 'f2x' is not known."),
        (
            pointsegda,
            "f2a,method=gast",
            "config option method = 'gast' is not known. Known: defrec, defrec_pcm,",
        ),
        (bodies, "s2s", "config option direction = 's2s' is not known."),
        (bodies, "m2s,budget=large", "config option budget = 'large' is not known."),
    ],
)
def test_what_is_not_known_is_told(config, arg, words):
    with pytest.raises(ValueError) as error:
        config.get_config(arg)
    assert words in str(error.value)
