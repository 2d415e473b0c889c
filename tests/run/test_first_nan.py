import jax
import jax.numpy as jnp
import pytest

from smdsb_jax.run.first_nan import first_nan, has_nan, nan_step
from smdsb_jax.run.loop import train_and_evaluate
from smdsb_jax.state import TrainState
from tests.tiers import exhaustive
from tests.tiny_run import tiny_config


def share(x):
    return x / jnp.sum(x)


def looped(x):
    return jax.lax.scan(lambda carry, row: (carry - 1, jax.jit(jnp.sqrt)(carry) * row), jnp.ones(()), x)


PROGRAMS = {
    "div": (share, "(share)"),
    "sqrt": (looped, "(looped"),  # of a loop's third turn
    "mul": (jax.grad(lambda x: jnp.sqrt(jnp.sum(x)) * 0), "(<lambda>)"),  # 0 · ∞ of a gradient
    "log": (lambda x: jax.lax.cond(x[0] == 0, jnp.sum, lambda x: 0.0, jnp.log(x - 1)), "(<lambda>)"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_first_operation_that_makes_a_nan_is_named_with_its_line(name):
    program, where = PROGRAMS[name]
    found = first_nan(program, jnp.zeros(4))
    assert found.startswith(f"{name} at tests/run/test_first_nan.py:") and where in found


def test_a_nan_that_is_meant_is_no_operations():
    def meant(x):
        return jnp.where(x > 0, x, jnp.nan) * 2

    assert has_nan((meant(jnp.zeros(4)), jax.random.key(0))) and not has_nan([jnp.ones(3), 1])
    assert first_nan(meant, jnp.zeros(4)) == ""


def test_a_step_with_a_nan_names_stage_step_and_operation():
    def step(state, batch, scores):
        return state.replace(step=state.step + 1), {"loss/class": share(batch).sum()}

    state = TrainState(jnp.int32(4), jax.random.key(0), {}, (), (), ())
    checked = nan_step(jax.jit(step), step, 2)
    assert checked(state, jnp.ones(3), None)[0].step == 5
    with pytest.raises(FloatingPointError) as stopped:
        checked(state, jnp.zeros(3), None)
    said = str(stopped.value)
    assert said.startswith("Stage 2, step 5: the first NaN is of div at tests/run/test_first_nan.py:")
    assert "\n" not in said
    with pytest.raises(FloatingPointError, match="the first NaN is of what the step is given"):
        checked(state, jnp.full(3, jnp.nan), None)


@exhaustive
@pytest.mark.parametrize("method", ["defrec", "pcfea"])
def test_healthy_runs_go_through(method, tmp_path):
    assert train_and_evaluate(tiny_config(method, debug_nans=True), tmp_path).finished


def flat(sample):
    spread = jnp.sum(sample.saliency - sample.saliency)
    return spread / spread


@exhaustive
def test_a_statistic_of_0_by_0_is_named(tmp_path):
    config = tiny_config(debug_nans=True, selection__statistic="tests.run.test_first_nan:flat")
    with pytest.raises(
        FloatingPointError, match=r"1, step 1: .* div at tests/run/test_first_nan\.py:\d+ \(flat\)"
    ):
        train_and_evaluate(config, tmp_path)
