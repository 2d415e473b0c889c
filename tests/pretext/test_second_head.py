import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.layers.heads import ClassificationHead
from smdsb_jax.network import Passes, run
from smdsb_jax.pretext.second_head import init_second_head, run_second_head
from smdsb_jax.state import Features
from tests.random_variables import random_variables

HEAD = ClassificationHead(3, (8,), hidden_bias=(True,), dropout=0.0)
FEATURES = Features(jnp.asarray(np.random.default_rng(0).normal(size=(4, 16)), jnp.float32), ())
PASSES = Passes(lambda *_, **__: None, lambda v, f, key, *, train: run(HEAD, v, "head", f, train=train))


def started():
    first = random_variables(HEAD, FEATURES)
    variables = {kind: {"head": first[kind]} for kind in first}
    second = init_second_head(jax.random.key(0), variables)
    return {kind: {"head": first[kind], "pretext": {"second": second[kind], "other": {}}} for kind in first}


def test_it_is_another_draw_of_the_same_entries_with_the_same_statistics():
    variables = jax.device_get(started())
    first, second = variables["params"]["head"], variables["params"]["pretext"]["second"]
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(np.sort(a.ravel()), np.sort(b.ravel()))
    kernels = first["fc1"]["dense"]["kernel"], second["fc1"]["dense"]["kernel"]
    assert abs(np.corrcoef(*map(np.ravel, kernels))[0, 1]) < 0.3  # of 128 entries
    statistics = variables["batch_stats"]
    assert str(statistics["head"]) == str(statistics["pretext"]["second"])


def test_its_pass_is_the_heads_with_its_own_variables_and_statistics():
    variables = started()
    swapped = {kind: {"head": trees["pretext"]["second"]} for kind, trees in variables.items()}
    for train in (False, True):
        found, after = run_second_head(PASSES, variables, FEATURES, jax.random.key(0), train=train)
        expected, changed = PASSES.head(swapped, FEATURES, jax.random.key(0), train=train)
        np.testing.assert_array_equal(found, expected)
        of_first, _ = PASSES.head(variables, FEATURES, jax.random.key(0), train=train)
        assert np.abs(found - of_first).max() > 0.1
        assert (after is variables) == (not train)
    assert str(after["batch_stats"]["pretext"]["second"]) == str(changed["batch_stats"]["head"])
    assert str(after["batch_stats"]["head"]) == str(variables["batch_stats"]["head"])
    assert str(after["batch_stats"]["head"]) != str(changed["batch_stats"]["head"])
    assert after["params"]["pretext"].keys() == {"second", "other"}
