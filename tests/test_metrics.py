import math

import numpy as np
import pytest
import scipy.stats

from smdsb_jax.metrics import (
    accuracy,
    class_accuracy,
    class_iou,
    confusion_matrix,
    entropy,
    shape_confusions,
    shape_iou,
)

LABEL = np.array([0, 0, 0, 0, 1, 1, 3], np.int32)
PREDICTION = np.array([0, 0, 0, 1, 1, 3, 3], np.int32)
CONFUSION = [[3, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]]  # nothing of class 2


def test_confusion_counts_true_rows_and_predicted_columns():
    np.testing.assert_array_equal(confusion_matrix(LABEL, PREDICTION, 4), CONFUSION)


def test_confusion_equals_a_loop_and_adds_up_over_parts():
    generator = np.random.default_rng(0)
    label, prediction = generator.integers(0, 11, size=(2, 500), dtype=np.int32)
    expected = np.zeros((11, 11), int)
    for true, predicted in zip(label, prediction, strict=True):
        expected[true, predicted] += 1
    np.testing.assert_array_equal(confusion_matrix(label, prediction, 11), expected)
    parts = [confusion_matrix(label[s], prediction[s], 11) for s in (slice(0, 123), slice(123, None))]
    np.testing.assert_array_equal(sum(parts), expected)


def test_small_label_types_do_not_overflow():
    label = np.full(3, 39, np.int8)  # 39 · 40 + 39 is no int8
    assert confusion_matrix(label, label, 40)[39, 39] == 3


def test_accuracies_by_hand():
    confusion = np.array(CONFUSION)
    assert accuracy(confusion) == 5 / 7
    np.testing.assert_array_equal(class_accuracy(confusion), [3 / 4, 1 / 2, np.nan, 1.0])


def test_no_samples_measure_nothing():
    empty = confusion_matrix(LABEL[:0], PREDICTION[:0], 4)
    assert math.isnan(accuracy(empty))
    assert np.isnan(class_accuracy(empty)).all()


@pytest.mark.parametrize("wrong", [-1, 4])
@pytest.mark.parametrize("name", ["label", "prediction"])
def test_a_class_out_of_range_is_refused(name, wrong):
    values = {"label": LABEL, "prediction": PREDICTION, name: np.where(LABEL == 3, wrong, LABEL)}
    with pytest.raises(ValueError, match=f"^{name} = {wrong} is no class"):
        confusion_matrix(values["label"], values["prediction"], 4)


def test_entropy_is_scipys_and_0_where_a_class_is_certain():
    p = np.random.default_rng(4).dirichlet(np.ones(5), size=8)
    np.testing.assert_allclose(entropy(p), scipy.stats.entropy(p, axis=1), rtol=1e-12)
    np.testing.assert_allclose(entropy(np.array([[0.0, 1, 0], [1 / 3] * 3])), [0, np.log(3)], atol=1e-12)


@pytest.mark.parametrize(
    "label, prediction, expected",
    [([0, 0, 1, 1], [0, 1, 1, 1], (1 / 2 + 2 / 3) / 2), ([0] * 4, [0] * 4, 1), ([0, 0], [0, 2], 1 / 4)],
)
def test_the_iou_of_a_shape_by_hand(label, prediction, expected):
    confusions = shape_confusions(np.array([label]), np.array([prediction]), 8)
    np.testing.assert_allclose(shape_iou(confusions), [expected])


def test_intersection_over_union_is_that_of_sets():
    generator = np.random.default_rng(1)
    label, prediction = generator.integers(0, 5, size=(2, 4, 40))
    confusions = shape_confusions(label, prediction, 6)
    for shape in range(4):
        iou = []
        for part in range(6):
            a, b = (set(np.flatnonzero(x[shape] == part)) for x in (label, prediction))
            iou.append(len(a & b) / len(a | b) if a | b else np.nan)
        np.testing.assert_allclose(class_iou(confusions[shape]), iou)
        np.testing.assert_allclose(shape_iou(confusions)[shape], np.nanmean(iou))
    assert np.isnan(class_iou(confusions)[:, 5]).all()
