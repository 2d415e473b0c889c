import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import processes
from tests.statistics.made_samples import score_of_map, scores_of_maps, sparse_maps
from tests.tiers import exhaustive


def by_definition(saliency):
    """All pairs, in float64."""
    x = np.sort(np.asarray(saliency, np.float64))
    m = np.median(x)
    low, high, tied = x[x <= m], x[x >= m], int(np.sum(x == m))
    kernel = np.empty((len(low), len(high)))
    for i, a in enumerate(low):
        for j, b in enumerate(high):
            if a == b:  # both tied with the median: the last ones of `low`, the first ones of `high`
                kernel[i, j] = np.sign((i - (len(low) - tied) + 1) + (j + 1) - 1 - tied)
            else:
                kernel[i, j] = ((b - m) - (m - a)) / (b - a)
    return np.median(kernel)


@pytest.mark.parametrize(
    "saliency, expected",
    [
        ([1, 2, 7, 9, 10], -1 / 3),
        ([1, 2, 3, 4, 5], 0),
        ([-4, -1, 0, 1, 4], 0),
        ([0, 0, 0, 1], 0.5),  # kernels: three each of -1, 0 and 1 from the tied points, three 1 with the last
        ([0, 0, 1, 1, 0], 1),
        ([0, 0, 0, 0, 0, 1, -1], 0),
        ([2, 2, 2], 0),
        ([5], 0),
    ],
)
def test_values_worked_out_by_hand(saliency, expected):
    assert score_of_map("medcouple", saliency) == pytest.approx(expected, abs=2e-7)
    assert by_definition(saliency) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 3, 7, 16, 33, 100])
@pytest.mark.parametrize("kind", ["dense", "rounded", "half zero", "mostly zero", "skewed"])
def test_equals_the_definition(n, kind):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(10, n))
    maps = {
        "dense": x**3,
        "rounded": np.round(2 * x),  # ties everywhere, the median among them
        "half zero": np.where(rng.random(x.shape) < 0.5, 0, np.round(2 * x)),
        "mostly zero": sparse_maps(10, n, seed=n),
        "skewed": np.exp(x),
    }[kind].astype(np.float32)
    np.testing.assert_allclose(scores_of_maps("medcouple", maps), [by_definition(m) for m in maps], atol=3e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([-3, -1, 0, 0, 0, 0, 1, 2, 8]), min_size=12, max_size=12))
def test_equals_the_definition_whatever_is_tied(saliency):
    assert scores_of_maps("medcouple", [saliency])[0] == pytest.approx(by_definition(saliency), abs=1e-6)


@exhaustive
def test_equals_the_definition_at_full_size_with_the_zeros_of_inference_mode():
    maps = sparse_maps(6, 1024)
    scores = scores_of_maps("medcouple", maps)
    np.testing.assert_allclose(scores, [by_definition(m) for m in maps], atol=1e-6)
    assert (np.abs(scores) == 1).any()  # the plateaus that its docstring warns of


def test_the_sign_turns_with_the_map_and_an_outlier_does_not_move_it():
    saliency = np.random.default_rng(0).gamma(1.0, size=401)
    of = lambda s: score_of_map("medcouple", s)  # noqa: E731
    assert of(saliency) > 0.2
    assert of(-saliency) == pytest.approx(-of(saliency), abs=1e-6)
    outlier = saliency.copy()
    outlier[np.argmax(saliency)] *= 100
    assert of(outlier) == pytest.approx(of(saliency), abs=1e-4)


def test_one_ulp_of_difference_is_rounding():
    saliency = np.full(1024, 0.3, np.float32)
    saliency[7] = np.nextafter(np.float32(0.3), np.float32(1))
    assert score_of_map("medcouple", saliency) == 0


SCRIPT = """
import numpy as np
from tests.statistics.made_samples import scores_of_maps
from tests.statistics.test_medcouple import by_definition

maps = np.exp(np.random.default_rng(33).normal(size=(10, 33))).astype(np.float32)
np.testing.assert_allclose(scores_of_maps("medcouple", maps), [by_definition(m) for m in maps], atol=3e-6)
"""


def test_the_median_is_its_own_tie_where_products_and_sums_round_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    fused = "--xla_backend_optimization_level=0" + processes.OLDER_EMITTERS
    done = processes.run(script, PYTHONPATH=str(processes.ROOT), XLA_FLAGS=fused)
    assert done.returncode == 0, done.stderr[-2000:]
