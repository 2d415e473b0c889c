import numpy as np
import pytest

from smdsb_jax.datasets.domain import Domain, Split
from smdsb_jax.scores import (
    ROLES,
    SELECT_BY,
    choose,
    collapsed,
    effective_classes,
    names_of,
    sentence,
    splits_of,
    title_of,
    value_of,
)

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
    scores |= {"classes/target": 1.0, "classes/source": 6.9}
    assert sentence(scores, "catalog", "scan").endswith("validation, collapsed to 1.0 of 6.9 classes")


def test_a_network_has_collapsed_where_it_predicts_fewer_than_half_as_many_classes():
    assert effective_classes(np.array([0, 1, 1, 0])) == pytest.approx(2)
    assert effective_classes(np.array([[2, 2], [2, 2]])) == 1
    assert effective_classes(np.array([0, 0, 0, 1])) == pytest.approx(np.exp(0.56233514))
    assert collapsed({"classes/target": 2.9, "classes/source": 6.0})
    assert not collapsed({"classes/target": 3.0, "classes/source": 6.0}) and not collapsed({})


def evaluation(snd, source=0.5, predicted=4.0):
    found = {"source_val/accuracy": source, "classes/target": predicted, "classes/source": 4.0}
    return found if snd == "absent" else found | {"validator/snd": snd}


@pytest.mark.parametrize(
    "evaluations, index, note",
    [
        ([evaluation(0.1), evaluation(0.3), evaluation(0.3), evaluation(0.2)], 1, ""),  # of equals the first
        ([evaluation(0.1), evaluation(None), evaluation(float("inf"))], 0, ""),  # not finite
        (
            [evaluation(0.1), evaluation(0.9, predicted=1.0), evaluation(0.2)],
            2,
            "1 of 3 evaluations are collapsed: not chosen by snd",
        ),
        (
            [evaluation(0.9, 0.2, 1.0), evaluation(0.8, 0.4, 1.0)],
            1,
            "2 of 2 evaluations are collapsed: not chosen by snd; snd has no value to choose by: chosen by "
            "source_val",
        ),
        (
            [evaluation(0.1, 0.7), evaluation(0.1, 0.6)],
            0,
            "snd is the same for all: chosen by source_val",
        ),
        ([evaluation(0.1)], 0, ""),
        ([{}, {}], 1, "snd has no value to choose by: chosen by last"),
        (
            [evaluation("absent", 0.7), evaluation("absent", 0.2)],
            0,
            "snd has no value to choose by: chosen by source_val",
        ),
    ],
)
def test_a_validator_chooses_among_what_can_be_believed(evaluations, index, note):
    assert choose(evaluations, "snd") == (index, note)


def test_the_other_ways_of_choosing():
    found = [evaluation(0, 0.1), evaluation(0, 0.9, predicted=1.0), {}]
    assert choose(found, "last") == (2, "") and choose(found, "source_val") == (1, "")
    assert choose(found, "oracle") is None and choose([], "last") is None and choose([], "snd") is None
