import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.augment import Mixed
from smdsb_jax.tasks.classification import cross_entropy
from smdsb_jax.tasks.segmentation import scores, segmentation


def test_the_three_conventions_by_hand():
    label, prediction = np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]])
    found = scores(label, prediction, 8)
    assert next(iter(found)) == "mIoU"
    assert found["mIoU"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["mIoU_all_parts"] == pytest.approx((1 / 2 + 2 / 3 + 6) / 8)
    assert found["mIoU_pooled"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["accuracy"] == 3 / 4


def test_shapes_count_equally_and_absent_parts_do_not_count():
    label = np.array([[0, 0, 0, 0], [0, 0, 0, 0]])
    prediction = np.array([[0, 0, 0, 0], [0, 2, 2, 2]])
    found = scores(label, prediction, 3)
    assert found["mIoU"] == pytest.approx((1 + (1 / 4 + 0) / 2) / 2)
    assert found["mIoU_pooled"] == pytest.approx((5 / 8 + 0) / 2)
    assert np.isfinite(list(found.values())).all()


def test_a_mixed_clouds_points_have_the_labels_of_where_they_come_from():
    generator = np.random.default_rng(0)
    logits = jnp.asarray(generator.normal(size=(3, 6, 4)), jnp.float32)
    label = jnp.asarray(generator.integers(0, 4, size=(3, 6)), jnp.int32)
    partner = np.array([2, 0, 1])
    rows = np.stack([generator.permutation(12)[:6] for _ in range(3)])
    task = segmentation()
    for share in (0.2, 0.9):  # weighs nothing
        mixed = Mixed(jnp.zeros((3, 6, 3)), jnp.asarray(partner), jnp.float32(share), jnp.asarray(rows))
        found = task.mixed_loss(logits, label, mixed)
        for i in range(3):
            own = [label[i][r] if r < 6 else label[partner[i]][r - 6] for r in rows[i]]
            np.testing.assert_allclose(found[i], cross_entropy(logits[i], jnp.asarray(own)), rtol=1e-6)
    assert task == segmentation() and hash(task) == hash(segmentation())
