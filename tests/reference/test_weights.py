import functools

import jax
import numpy as np
import pytest

pytest.importorskip("torch", reason="the reference needs PyTorch: pip install torch")

import torch

from reference import factorised, models, weights
from smdsb_jax import choose, default_config, resolve
from smdsb_jax.build import build_parts, init_state


@functools.cache
def start(encoder):
    config = resolve(choose(default_config(), "encoder", encoder))
    shapes = jax.eval_shape(
        functools.partial(init_state, build_parts(config, 1, 10)), jax.random.key(0)
    ).variables
    rng = np.random.default_rng(0)
    return config, jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def network(encoder, variant=models):
    return variant.Network(dict(start(encoder)[0].encoder), 10, 0.5, 0.5)


@pytest.mark.parametrize("variant", [models, factorised])
@pytest.mark.parametrize("encoder", ["dgcnn", "pointnet"])
def test_round_trip(encoder, variant):
    _, variables = start(encoder)
    model = network(encoder, variant)
    weights.load(model, variables)
    jax.tree.map(np.testing.assert_array_equal, weights.variables_of(model, variables), variables)


# DefRec's released models; a variable too many or too few would be seen here
@pytest.mark.parametrize(("encoder", "count"), [("dgcnn", 2_572_819), ("pointnet", 3_915_859)])
def test_parameter_counts_of_the_published_networks(encoder, count):
    assert sum(parameter.numel() for parameter in network(encoder).parameters()) == count


def test_gradients_have_the_layout_of_the_parameters_and_are_zero_where_nothing_flowed():
    _, variables = start("dgcnn")
    model = network("dgcnn")
    (2 * model.head.out.weight).sum().backward()
    gradients = weights.gradients_of(model, variables)
    assert jax.tree.structure(gradients) == jax.tree.structure(variables["params"])
    np.testing.assert_array_equal(gradients["head"]["out"]["kernel"], np.full((256, 10), 2))
    assert not gradients["encoder"]["edge1"]["kernel"].any()


def test_exported_arrays_do_not_change_with_the_model():
    _, variables = start("dgcnn")
    model = network("dgcnn")
    weights.load(model, variables)
    exported = weights.variables_of(model, variables)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    jax.tree.map(np.testing.assert_array_equal, exported, variables)


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="another network: missing .*tnet1.*unexpected .*edge1"):
        weights.load(network("pointnet"), start("dgcnn")[1])
    other = models.Network(dict(start("dgcnn")[0].encoder), 11, 0.5, 0.5)
    with pytest.raises(ValueError, match="head/out/.* is .*10.*, head.out.* is .*11"):
        weights.load(other, start("dgcnn")[1])
