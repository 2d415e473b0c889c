import functools

import jax.numpy as jnp
import pytest

from smdsb_jax.network import encode
from smdsb_jax.pretext.base import Encode, Pretext, View, unchanged


def test_a_task_without_an_update_keeps_its_state():
    state = {"teacher": jnp.ones(2)}
    task = Pretext(init=lambda *_: ({}, ()), prepare=lambda *_: (), loss=lambda *_: ({}, {}))
    assert task.update is unchanged and task.update(state, {"params": {}}) is state


def test_the_networks_encoder_pass_is_what_a_task_is_given():
    assert isinstance(functools.partial(encode, None), Encode)


def test_a_view_must_say_all_it_knows():
    with pytest.raises(TypeError, match="progress"):
        View(jnp.zeros((2, 4, 3)), jnp.zeros((2, 4, 3)), None, "source")
