import functools

import jax
import numpy as np
import pytest

pytest.importorskip("torch", reason="the reference needs PyTorch: pip install torch")

import torch

from reference import factorised, models, weights
from smdsb_jax import choose, default_config, resolve
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.encoders import DGCNNSegmentation
from smdsb_jax.layers.heads import PointwiseHead


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


@functools.cache
def published():
    """DefRec's network for PointSegDA with random weights, what it makes of clouds, and our own parts."""
    torch.manual_seed(0)
    network = models.SegmentationNetwork(8, 0.5).eval()
    with torch.no_grad():  # norms that do something, kernels that keep what tells points apart
        for name, value in network.state_dict().items():
            if ".bn" in name and value.ndim:
                value.copy_(torch.rand_like(value) + 0.5)
            elif value.ndim > 1:
                value.mul_(2)
        points = torch.rand(2, 60, 3) - 0.5
        logits, rebuilt, embedding = network(points)
    encoder, heads = DGCNNSegmentation(), (PointwiseHead(8, use_bias=True), PointwiseHead(3, use_bias=True))

    def start(points):
        features, of_encoder = encoder.init_with_output(jax.random.key(0), points, train=False)
        trees = [of_encoder, *(head.init(jax.random.key(0), features, train=False) for head in heads)]
        return {
            kind: {part: tree.get(kind, {}) for part, tree in zip(PARTS, trees, strict=True)}
            for kind in ("params", "batch_stats")
        }

    points = points.numpy()
    found = logits.numpy(), rebuilt.numpy(), embedding.numpy()
    return network, points, found, (encoder, heads), jax.eval_shape(start, points)


PARTS = ("encoder", "head", "pretext")


def test_defrecs_network_for_pointsegda_has_the_published_number_of_parameters():
    network = published()[0]
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert parts == {
        "input_transform_net": 798_089, "shared_layers": 222_912, "seg": 412_552, "DefRec": 411_907,
    }  # fmt: skip
    assert sum(parts.values()) == 1_845_460


def test_a_published_state_dict_gives_pytorchs_logits_points_and_embedding():
    network, points, expected, (encoder, heads), like = published()
    variables = weights.published_variables(network.state_dict(), like)
    jax.tree.map(lambda leaf, shape: np.testing.assert_equal(leaf.shape, shape.shape), variables, like)

    @jax.jit
    def outputs(variables, points):
        own = {part: {kind: tree[part] for kind, tree in variables.items()} for part in PARTS}
        features = encoder.apply(own["encoder"], points, train=False)
        told = (h.apply(own[part], features, train=False) for h, part in zip(heads, PARTS[1:], strict=True))
        return *told, features.embedding

    for ours, theirs in zip(outputs(variables, points), expected, strict=True):
        assert np.ptp(theirs) > 0.1
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_another_state_dict_is_refused():
    network, *_, like = published()
    state = dict(network.state_dict())
    with pytest.raises(
        ValueError, match=r"state dict are .*: missing \['seg.bn2.weight'\], unexpected \['seg.bn4"
    ):
        renamed = {name: tensor for name, tensor in state.items() if name != "seg.bn2.weight"}
        weights.published_variables(renamed | {"seg.bn4.weight": state["seg.bn2.weight"]}, like)
    with pytest.raises(
        ValueError, match=r"seg.conv4.weight is \[13, 128, 1\], head/out/kernel is \[128, 8\]"
    ):
        weights.published_variables(state | {"seg.conv4.weight": torch.zeros(13, 128, 1)}, like)
    with pytest.raises(ValueError, match="encoder/.*: DefRec's network for PointSegDA has no such"):
        weights.published_variables(state, start("dgcnn")[1])
