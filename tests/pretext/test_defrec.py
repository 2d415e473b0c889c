import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.geometry.regions import least_points
from smdsb_jax.pretext import View
from smdsb_jax.pretext.defrec import defrec, defrec_radius
from smdsb_jax.registry import options


def masks(task, points):
    """Which points of each cloud the task deforms, as its encoder pass sees them."""
    prepared = task.prepare(View(points, points, None, "target", jnp.zeros(())), jax.random.key(3))
    assert prepared.points is points
    return np.asarray(jnp.any(prepared.deformed != points, axis=-1))


def test_each_variant_has_the_least_count_of_its_release():
    assert [least_points(options(t)["min_share"], 1024) for t in (defrec, defrec_radius)] == [40, 20]
    assert least_points(0.0, 1024) == 1 and least_points(0.5, 5) == 3  # half up
    assert "radius" not in options(defrec) and options(defrec_radius)["radius"] == 0.5
    spread = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 500, 3)), jnp.float32)  # 19 a cell
    assert (
        not masks(defrec(min_share=40 / 500), spread).any()
        and masks(defrec(min_share=15 / 500), spread).any(axis=1).all()
    )
    few = spread.at[:, 9:].multiply(1e3)  # far from each other; of 500 points the least count is 10
    few = few.at[:, :9].set(0.01 * spread[:, :9])
    assert not masks(defrec_radius(), few).any()
    assert (masks(defrec_radius(min_share=9 / 500), few).sum(axis=1) == 9).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_share": -0.1},
        {"noise_variance": -1e-3},
        {"scale": -1.0},
        {"dropout": 1.0},
        {"scale": float("inf")},
    ],
    ids=str,
)
@pytest.mark.parametrize("task", [defrec, defrec_radius])
def test_impossible_options_are_refused(task, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"config\.pretext\.{name} = {value}: between"):
        task(**wrong)


@pytest.mark.parametrize("radius", [-0.1, 2.1, float("nan")])
def test_a_ball_has_a_radius_within_the_cloud(radius):
    with pytest.raises(ValueError, match=rf"config\.pretext\.radius = {radius}: between 0 and 2"):
        defrec_radius(radius=radius)
