"""The step of every method, measured."""

import pytest
from smdsb_jax.configs.methods import METHODS

from benchmarks import methods
from benchmarks.contenders import Setting
from benchmarks.methods import (
    BASELINE,
    Step,
    build_step,
    cases,
    config_of_method,
    measure,
    methods_table,
)
from tests.tiers import exhaustive

SMALL = Setting("pointnet", batch=4, points=64)


def test_every_method_is_there_in_every_stage_that_it_has():
    listed = cases()
    assert listed[0] == BASELINE and {method for method, _, _ in listed} == set(METHODS) - {"oracle"}
    for method in ("defrec", "gast", "self_distillation"):
        assert {(s, stage) for m, s, stage in listed if m == method} == {
            (s, stage) for s in ("none", "skewness") for stage in (1, 2)
        }
    assert [case for case in listed if case[0] == "source_only"] == [BASELINE]


def test_a_case_is_the_published_configuration_at_the_setting():
    config = config_of_method(SMALL, "self_distillation", "none")
    assert (config.data.points, config.batch_size, config.augment.occlusion) == (64, 4, 0.3)
    assert (config.encoder.name, config.selection.statistic) == ("pointnet", "none")


@exhaustive
@pytest.mark.parametrize(
    "case, task",
    [(("self_distillation", "skewness", 2), "classification"), (BASELINE, "segmentation")],
    ids=str,
)
def test_a_step_takes_time_again_and_again(case, task):
    step = build_step(SMALL, case, task)
    assert step.seconds() > 0 and step.seconds() > 0 and 0 < step.gibibytes < 1


def test_the_methods_of_segmentation_have_one_stage_and_the_protocol_of_points():
    assert cases("segmentation") == [
        BASELINE,
        *((m, s, 1) for m in ("defrec", "defrec_pcm", "mlsp") for s in ("none", "skewness")),
    ]
    config = config_of_method(SMALL, "mlsp", "none", "segmentation")
    assert (config.task.name, config.pretext.count_radius) == ("segmentation", 0.115)


def test_a_record_compares_with_source_only(monkeypatch):
    times = {BASELINE: 1.0, ("gast", "none", 1): 3.0}
    monkeypatch.setattr(methods, "GROUP", 1)
    monkeypatch.setattr(methods, "cases", lambda task: list(times))
    monkeypatch.setattr(methods, "build_step", lambda setting, case, task: Step(lambda: times[case], 0.25))
    records = measure(SMALL, 3)
    assert [r["slower"]["median"] for r in records] == [1.0, 3.0]
    times[("mlsp", "none", 2)] = 2.0  # in a group of its own, beside the baseline again
    assert [tuple(r["case"]) for r in measure(SMALL, 3)] == list(times)
    last = [cell.strip() for cell in methods_table(records).splitlines()[-1].split("|")[1:-1]]
    assert last == ["gast", "none", "1", "3.00", "3.00 to 3.00", "3.00 [3.00, 3.00]", "0.25"]
