import csv
import json

import numpy as np
import pytest
import scipy.stats

from smdsb_jax.analysis.regret import finite, judge, judge_run, judge_runs, summarize

ACCURACY = (0.3, 0.6, 0.5, 0.8)


def run_of(folder, accuracy=ACCURACY, stage=1, **values):
    """A run whose records have these scores; a loss between them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, right in enumerate(accuracy):
        scores = {"target_test/accuracy": right, "classes/target": 4.0, "classes/source": 4.0}
        scores |= {name.replace("__", "/"): value[i] for name, value in values.items()}
        lines.append({"stage": stage, "step": 10 * i, "loss/class": 1.0})
        lines.append({"stage": stage, "step": 10 * i, **scores})
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return folder


def test_a_validator_is_judged_by_its_ranking_and_by_what_its_choice_loses(tmp_path):
    run = run_of(
        tmp_path / "a",
        validator__snd=(1, 4, 3, 2),
        validator__bnm=(1, 3, 2, 4),
        validator__flat=(7, 7, 7, 7),
        validator__gone=(1, None, 3, 2),
        source_val__accuracy=(0.9, 0.8, 0.7, 0.6),
    )
    (stage,), skipped = judge_run(run)
    assert skipped == [] and (stage.number, stage.evaluations, stage.collapsed) == (1, 4, 0)
    found = stage.judged
    assert found["snd"].spearman == pytest.approx(scipy.stats.spearmanr([1, 4, 3, 2], ACCURACY)[0])
    assert found["bnm"] == pytest.approx((1, 1, 0))
    regret = {name: judged.regret for name, judged in found.items()}
    # a constant one chooses nothing: source validation does; null is as bad as the worst
    expected = {"snd": 20, "bnm": 0, "flat": 50, "gone": 30, "source_val": 50, "last": 0}
    assert regret == pytest.approx(expected)
    assert found["flat"][:2] == (0, 0) and found["source_val"].spearman == pytest.approx(-0.8)
    assert found["last"].spearman == pytest.approx(0.8)


def test_a_collapsed_evaluation_is_not_chosen():
    found = [
        {"target_test/accuracy": a, "validator/snd": s, "classes/target": c, "classes/source": 4.0}
        for a, s, c in ((0.3, 1.0, 4.0), (0.1, 9.0, 1.0), (0.5, 2.0, 4.0))
    ]
    assert judge(found, "snd").regret == 0


def test_what_is_not_finite_is_the_smallest_that_is():
    np.testing.assert_array_equal(finite(np.array([np.nan, 2.0, np.inf, 1.0])), [1, 2, 1, 1])
    np.testing.assert_array_equal(finite(np.array([np.nan])), [0])


def test_over_runs_there_are_means_with_intervals(tmp_path, capsys):
    runs = [
        run_of(tmp_path / "a", validator__snd=(1, 4, 3, 2)),
        run_of(tmp_path / "b", validator__snd=(4, 3, 2, 1)),
    ]
    run_of(tmp_path / "a", stage=2, validator__snd=(1, 2, 3, 4))
    stages = judge_runs(runs, tmp_path / "out")
    rows = {(row.stage, row.validator): row for row in summarize(stages)}
    snd = rows[1, "snd"]
    assert snd.mean.regret == pytest.approx(35) and snd.runs == 2
    half = scipy.stats.t.ppf(0.975, 1) * np.std([20, 50], ddof=1) / np.sqrt(2)
    assert snd.half.regret == pytest.approx(half)
    said = capsys.readouterr().out
    assert half > 100 and "Stage 1, runs: 2, evaluations of each: 4." in said
    assert "35.0 [0.0, 100.0]" in said  # cut off where no regret can be
    with (tmp_path / "out" / "validators.csv").open() as file:
        read = {(r["stage"], r["validator"]): r for r in csv.DictReader(file)}
    assert float(read["1", "snd"]["regret"]) == pytest.approx(35)
    assert read["2", "snd"]["runs"] == "1" and read["2", "snd"]["regret_low"] == ""
    assert (tmp_path / "out" / "validators.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_judged_says_which_run_to_make(tmp_path):
    few = run_of(tmp_path / "few", (0.1, 0.2), validator__snd=(1, 2))
    none = run_of(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    said = []
    with pytest.raises(ValueError, match=r"No stage of a run has 3 evaluations .* --config\.eval_every"):
        judge_runs([few, none, tmp_path / "empty"], tmp_path / "out", said.append)
    assert "few, stage 1: left out, 2 evaluations with target scores. At least 3" in said[0]
    assert "none, stage 1: left out, no validators" in said[1] and "no metrics.jsonl" in said[2]
    assert not (tmp_path / "out").exists()
