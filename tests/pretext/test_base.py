import jax
import jax.numpy as jnp
import pytest

from smdsb_jax.encoders import ENCODERS
from smdsb_jax.network import ApplyHead, Encode, Network, passes_of
from smdsb_jax.pretext.base import Pretext, View, build_view, prepare, unchanged
from smdsb_jax.state import Clouds
from smdsb_jax.tasks.classification import classification


def test_a_task_without_an_update_keeps_its_state():
    state = {"teacher": jnp.ones(2)}
    task = Pretext(init=lambda *_: ({}, ()), prepare=lambda *_: (), loss=None, names=())
    assert task.update is unchanged and task.update(state, {"params": {}}) is state


def test_a_networks_passes_are_what_a_task_is_given():
    encoder = ENCODERS["pointnet"]()
    passes = passes_of(Network(encoder, encoder.head(3, 0.0), classification()))
    assert isinstance(passes.encode, Encode) and isinstance(passes.head, ApplyHead)


def test_no_key_of_a_preparation_is_one_of_its_loss():
    task = Pretext(lambda *_: ({}, ()), lambda view, key: key, None, ())
    view = View(jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 3)), None, "target", jnp.zeros(()))
    key = jax.random.key(0)
    drawn_with, loss_key = prepare(task, view, key)
    keys = [jax.random.key_data(k).tolist() for k in (key, drawn_with, loss_key)]
    assert len({tuple(k) for k in keys}) == 3


def test_a_view_is_of_the_augmented_clouds_and_of_the_stored_ones():
    stored = Clouds(jnp.zeros((2, 6, 3)), jnp.arange(2))
    augmented = Clouds(jnp.ones((2, 4, 3)), jnp.arange(2))
    view = build_view(augmented, stored, "target", jnp.zeros(()))
    assert (view.points.shape, view.stored.shape, view.domain) == ((2, 4, 3), (2, 6, 3), "target")
    assert view.label is augmented.label


def test_a_view_must_say_all_it_knows():
    with pytest.raises(TypeError, match="progress"):
        View(jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 3)), None, "source")
