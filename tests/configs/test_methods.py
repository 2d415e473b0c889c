"""Every method's step, small: it lowers for GPUs, stays finite, and lowers its own loss."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from smdsb_jax.configs.methods import METHODS

from smdsb_jax import resolve
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.configs import embedded, pointda
from smdsb_jax.optimizer import build_optimizer
from smdsb_jax.pretext import PRETEXT
from smdsb_jax.state import Batch, Clouds
from smdsb_jax.train_step import train_step
from tests.tiers import cases, exhaustive
from tests.tiny_run import tiny_config

BATCH = 8
LEFT_OUT = "clouds that config.pseudo_labels leaves out"


def started(method, stage, **changes):
    """Parts, what makes the first state, and a mini-batch of clouds of 64 points; the network sees 32."""
    parts = build_parts(resolve(tiny_config(method)), stage, 7)._replace(**changes)
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2, BATCH, 64, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=-1).max()
    label = jnp.arange(BATCH, dtype=jnp.int32) % 7
    weight = jnp.where(jnp.arange(BATCH) % 2 == 0, 1.0, 0.2)
    target = Clouds(jnp.asarray(points[1]), *((label, weight) if stage == 2 else ()))
    return (
        parts,
        functools.partial(init_state, parts, jax.random.key(0)),
        Batch(Clouds(jnp.asarray(points[0]), label), target),
    )


def steps():
    """The first method of each task in every stage that it has: others differ in weights."""
    first = {tiny_config(method).pretext.name: method for method in reversed(METHODS)}
    assert set(PRETEXT) - set(first) == {"defrec_radius"}  # defrec with another region
    return [(method, stage) for method in first.values() for stage in tiny_config(method).stages]


@pytest.mark.parametrize("of", cases(steps(), ("defrec", 1), ("gast", 2), ("pointdan", 1)))
def test_every_methods_step_lowers_for_gpus_in_every_stage_that_it_has(of):
    parts, init, batch = started(*of)
    step = jax.jit(functools.partial(train_step, parts), donate_argnums=0)
    step.trace(jax.eval_shape(init), batch).lower(lowering_platforms=("cuda",))


@exhaustive
@pytest.mark.parametrize("method", ["gast", "self_distillation"])
def test_a_method_lowers_its_own_loss_and_stays_finite(method):
    optimizer = build_optimizer("adam", 3e-3, 0.0, "constant", 100)
    alone = {"class_weight": 0.0, "steps": 10**9, "optimizer": optimizer}  # a ramp that does not move
    parts, init, batch = started(method, 2, **alone)
    state = jax.jit(init)()
    step = jax.jit(functools.partial(train_step, parts), donate_argnums=0)
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(metrics["loss/pretext"])
    chex.assert_tree_all_finite((state.variables, metrics))
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


def test_implicit_trains_by_gasts_protocol_with_weights_of_one():
    alone, gast = (pointda.get_config(f"m2s,method={m},selection=none") for m in ("implicit", "gast"))
    assert alone.pretext.name == "implicit" and alone.pretext.on_source
    assert alone.pretext.weight == alone.classification.weight == 1
    for section in ("optimizer", "stage2", "pseudo_labels"):
        assert alone[section] == gast[section]
    assert not alone.stage2.pretext and pointda.get_config("m2s,method=implicit").stage2.pretext


def test_pcfea_has_a_linear_head_weights_of_one_and_a_rising_threshold():
    alone, selecting = (pointda.get_config(f"m2s,method=pcfea,selection={s}") for s in ("none", "skewness"))
    assert alone.task.head == "linear" and alone.pretext.on_source
    assert alone.pretext.weight == alone.classification.weight == 1  # one loss replaces the other
    assert (alone.pseudo_labels.threshold, alone.pseudo_labels.step) == (0.8, 0.01)
    assert (alone.stage2.pretext, selecting.stage2.pretext) == (False, True)
    assert embedded.get_config("c2s,method=pcfea").pretext.memory == 256


@pytest.mark.parametrize("method", METHODS)
def test_what_contradicts_a_method_is_refused(method):
    config = tiny_config(method)
    config.saliency.mode = "shared"
    if config.classification.mixup == "pcm":
        words = "would score mixed clouds"
    elif config.pseudo_labels.name == "self_paced":
        config.pseudo_labels.threshold, words = 0.8, LEFT_OUT
    elif config.pseudo_labels.name == "voted":
        words = LEFT_OUT
    else:
        resolve(config)
        return
    with pytest.raises(ValueError, match=words):
        resolve(config)
