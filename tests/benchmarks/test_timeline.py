"""Who gets which moment of a step."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.hlo import operations
from benchmarks.timeline import FINISH, START, STOP, Moment, profile, runs_of, seconds_of


def seconds(*happened, loops=()):
    moments = [Moment(1e9 * time, what, name) for time, what, name in happened]
    return seconds_of(moments, set(loops))


def during(name, start, stop, finish=None):
    ends = [] if finish is None else [(finish, FINISH, name)]
    return [(start, START, name), (stop, STOP, name), *ends]


def test_what_runs_alone_gets_its_time_and_two_beside_each_other_half_each():
    found = seconds(*during("a", 0, 2), *during("b", 1, 4), *during("a", 5, 6))
    assert found == pytest.approx({"a": 1 + 0.5 + 1, "b": 0.5 + 2})  # nothing between 4 and 5


def test_a_loop_keeps_what_its_body_does_not_take():
    body = [*during("inner", 1, 5), *during("a", 2, 3), *during("a", 3, 4)]
    found = seconds(*during("outer", 0, 6), *body, loops=["outer", "inner"])
    assert found == pytest.approx({"outer": 2, "inner": 2, "a": 2})


def test_what_goes_on_elsewhere_gets_the_moments_that_no_other_takes():
    found = seconds(*during("a", 0, 1, 4), *during("b", 2, 3, 3))
    assert found == pytest.approx({"a": 3, "b": 1})
    # without an end that is told it ends with its event
    assert seconds(*during("a", 0, 1), *during("b", 2, 3, 3)) == pytest.approx({"a": 1, "b": 1})


def test_an_event_inside_of_one_of_the_same_name_counts_once():
    assert seconds(*during("a", 0, 4, 4), *during("a", 1, 3, 3)) == pytest.approx({"a": 4})


def test_a_profile_names_the_instructions_as_often_as_they_run():
    def powers(x, many):
        return jax.lax.scan(lambda x, y: (jnp.tanh(x @ y), None), x, many)[0]

    program = jax.jit(powers).lower(jnp.ones((64, 64)), jnp.ones((7, 64, 64))).compile()
    arguments = jnp.ones((64, 64)), jnp.ones((7, 64, 64))
    jax.block_until_ready(program(*arguments))
    listed = operations(program.as_text())
    moments = profile(lambda: jax.block_until_ready(program(*arguments)), {one.name for one in listed})
    product = next(one for one in listed if one.kind == "products")
    assert runs_of(moments)[product.name] == product.runs == 7
    assert profile(lambda: None, {product.name}) == []
