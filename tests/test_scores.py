import numpy as np
import pytest

from smdsb_jax.datasets.domain import Domain, Split
from smdsb_jax.scores import ROLES, SELECT_BY, names_of, sentence, splits_of, title_of, value_of

METRICS = {"stage": 1, "step": 3, "source_val/miou": 0.5, "source_val/accuracy": 0.9, "entropy/mean": 0.1}


@pytest.mark.parametrize(
    "score, found",
    [
        ("source_val", ("source_val/miou", 0.5)),  # the headline comes first
        ("source_val/accuracy", ("source_val/accuracy", 0.9)),
        ("target_test", None),  # a target without labels
        ("source", None),
        ("entropy", ("entropy/mean", 0.1)),
    ],
)
def test_a_score_is_found_by_its_name_or_its_role(score, found):
    assert value_of(METRICS, score) == found


def test_names_and_titles():
    assert names_of(METRICS) == ["source_val/miou", "source_val/accuracy", "entropy/mean"]
    assert title_of("source_val/accuracy") == "source validation accuracy"
    assert title_of("target_test/mean_iou") == "target test mean iou"
    assert title_of("entropy/mean") == "entropy mean"


def test_every_choice_is_the_last_step_or_by_a_role_that_is_evaluated():
    assert {choice.score for choice in SELECT_BY.values()} <= {"", *ROLES}


def test_the_splits_of_the_roles():
    split = lambda n: Split(np.zeros((n, 4, 3), np.float32), np.zeros(n, np.int32))  # noqa: E731
    source, target = (Domain("", ("a",), split(n), split(n + 1), split(n + 2)) for n in (1, 4))
    found = splits_of(source, target)
    assert {name: len(of.label) for name, of in found.items()} == {"source_val": 2, "target_test": 6}
    unlabelled = target._replace(test=target.test._replace(label=np.full(6, -1, np.int32)))
    assert list(splits_of(source, unlabelled)) == ["source_val"]
    half = target._replace(test=target.test._replace(label=np.array([0, -1, -1, 0, -1, -1], np.int32)))
    assert len(splits_of(source, half)["target_test"].label) == 2


def test_the_sentence_tells_what_was_measured():
    scores = {"source_val/accuracy": 0.708, "target_test/accuracy": 0.408}
    both = "accuracy 70.8 % on catalog (source) validation, 40.8 % on scan (target) test"
    assert sentence(scores, "catalog", "scan") == both
    del scores["target_test/accuracy"]
    assert sentence(scores, "catalog", "scan") == "accuracy 70.8 % on catalog (source) validation"
