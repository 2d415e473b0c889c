import pytest

from smdsb_jax import resolve
from smdsb_jax.build import build_parts
from tests.tiny_run import tiny_config


@pytest.mark.parametrize(
    "split, tasks",
    [
        ("task", ("class", "pretext")),
        ("domain", ("class", "pretext/source", "pretext/target")),
        ("loss", ("class", "pretext/distortion", "pretext/rotation")),
    ],
)
def test_the_tasks_of_a_rule_are_those_of_the_configured_split(split, tasks):
    assert build_parts(resolve(tiny_config("gast", combine__split=split)), 1, 3).tasks == tasks
