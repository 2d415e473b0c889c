import numpy as np
import pytest

from smdsb_jax.combine import Merged, metrics_of
from tests.combine.merging import G_1, G_2, told_of, trees_of


def test_cosines_ratios_and_weights_of_the_reference_pair():
    gradients = trees_of([G_1, G_2])
    merged = Merged(trees_of([(0.5, 1.5)])[0], (), metrics={"own": np.float32(3)})
    found = metrics_of(gradients, told_of([1, 1]), merged)
    assert {name: pytest.approx(float(value), rel=1e-5) for name, value in found.items()} == {
        "cosine/pretext/1": -(0.5**0.5), "ratio/pretext/1": 2**0.5, "cosine_merged": 0.1**0.5, "own": 3,
    }  # fmt: skip
    weighed = metrics_of(gradients, told_of([1, 1]), merged._replace(weights=np.array([1.0, 0.5])))
    assert (weighed["weight/class"], weighed["weight/pretext/1"]) == (1, 0.5)


def test_an_absent_task_has_no_direction():
    gradients = trees_of([G_1, (0, 0)])
    found = metrics_of(gradients, told_of([1, 0]), Merged(gradients[1], ()))
    assert found == {"cosine/pretext/1": 0, "ratio/pretext/1": 0, "cosine_merged": 0}
