import numpy as np
import pytest

import smdsb_jax
from smdsb_jax.report.evaluation import evaluate


def test_it_is_what_predict_says_of_the_labelled_clouds_of_any_domain(tiny_run):
    model = smdsb_jax.load(tiny_run)
    found = evaluate(model, "blend")
    expected = np.asarray(smdsb_jax.predict(model, found.clouds.points)).argmax(axis=-1)
    np.testing.assert_array_equal(found.judged.prediction, expected)
    assert found.scores["accuracy"] == np.mean(expected == found.clouds.label)
    assert repr(found).startswith("Evaluation(blend test, last of stage 2") and "\n" not in repr(found)
    assert model.config.data.target != "blend"  # what was given is as it was


def test_a_split_without_labels_and_one_that_there_is_not_are_refused(tiny_run):
    with pytest.raises(ValueError, match=r"split = 'tests': one of train, val, test\."):
        evaluate(tiny_run, split="tests")
    with pytest.raises(ValueError, match="nowhere"):
        evaluate(tiny_run, "nowhere")


def test_a_runs_result_has_the_headlines_scores_and_is_short(tiny_run, tiny_runs):
    from tests.tiny_run import tiny_config

    result = smdsb_jax.train_and_evaluate(tiny_config(), tiny_run)  # finished: nothing is done
    found = evaluate(tiny_run)
    assert result.scores["target_test/accuracy"] == pytest.approx(found.scores["accuracy"])
    assert f"target_test/accuracy {100 * found.scores['accuracy']:.1f} %" in repr(result)
    assert repr(result).startswith(f"Result({tiny_run}, finished: ") and len(repr(result)) < 250
    assert result._replace(workdir=tiny_run / "checkpoints").scores == {}
