from pathlib import Path

from smdsb_jax import resolve
from smdsb_jax.analysis.groups import group_names
from smdsb_jax.analysis.subject import Located
from tests.tiny_run import tiny_config


def found(method="defrec", **fields):
    return Located(Path("runs/a"), 6, 1, 6, resolve(tiny_config(method, **fields)).to_dict())


def test_runs_that_differ_in_the_seed_or_in_what_changes_no_number_are_one_group():
    of_one = [{}, {"seed": 1}, {"log_every": 5}, {"eval_every": 1}, {"keep_checkpoints": 9}, {"stages": (1,)}]
    assert set(group_names([found(**fields) for fields in of_one])) == {
        "defrec, skewness low 0.7, catalog → scan"
    }


def test_the_name_tells_task_selection_and_direction():
    names = group_names(
        [
            found("self_distillation"),
            found(selection__statistic="entropy", selection__keep_ratio=0.25),
            found(selection__statistic="none", data__target="blend"),
        ]
    )
    assert names == [
        "self_distillation, skewness low 0.7, catalog → scan",
        "defrec, entropy high 0.25, catalog → scan",
        "defrec, no selection, catalog → blend",
    ]


def test_what_the_name_does_not_tell_gets_a_number():
    rates = [found(optimizer__learning_rate=rate) for rate in (1e-3, 1e-2, 1e-3, 1e-1)]
    name = "defrec, skewness low 0.7, catalog → scan"
    assert group_names(rates) == [name, f"{name} (2)", name, f"{name} (3)"]
