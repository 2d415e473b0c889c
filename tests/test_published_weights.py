import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch", reason="the reference needs PyTorch: pip install torch")

import torch

from reference import models
from reference.gast import GASTNetwork
from smdsb_jax import published_weights
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.layers.basic import Dense
from smdsb_jax.layers.heads import PointwiseHead
from smdsb_jax.published_weights import import_weights
from smdsb_jax.tasks import TASKS
from tests.tiers import cases

NARROW = {
    "dgcnn": {"k": 8, "input_tnet": True, "layers": (8, 12, 16, 24), "embedding": 64},
    "dgcnn_gast": {
        "k": 8, "layers": (8, 12, 16, 24), "embedding": 64, "norm": "layer_released", "points": 60,
    },
    "pointnet": {"input_tnet": True, "feature_tnet": True, "layers": (8, 8, 12, 16), "embedding": 64},
}  # fmt: skip
CLASSES = 7
GASTS_HEADS = {"cell": 27, "about_x": 4, "about_y": 4}
# the reference's names → those of DefRec's code
RENAMED = [
    (r"^encoder\.tnet(\d?)\.conv(\d)\.", r"T\1.conv2d\2.conv."),
    (r"^encoder\.tnet(\d?)\.fc(\d)\.", r"T\1.fc\2.fc."),
    (r"^encoder\.tnet(\d?)\.out\.", r"T\1.fc3."),
    (r"^T\.", "input_transform_net."),
    (r"^T(\d)\.", r"trans_net\1."),
    (r"^encoder\.(edge|conv)(\d)\.", r"conv\2.conv."),
    (r"^head\.fc(\d)\.", r"C.mlp\1.fc."),
    (r"^head\.out\.", "C.mlp3."),
    (r"^pretext\.conv(\d)\.dense\.", r"DefRec.conv\1."),
    (r"^pretext\.conv(\d)\.norm\.", r"DefRec.bn\1."),
    (r"^pretext\.out\.", "DefRec.conv4."),
]
AGGREGATED = {"dgcnn": ("conv5.", "bn5."), "pointnet": ("conv5.conv.0.", "conv5.conv.1.")}


@pytest.fixture(scope="module", autouse=True)
def _shapes_are_traced_once():
    made, like = {}, published_weights.variables_like

    def like_once(*given):
        if repr(given) not in made:
            made[repr(given)] = like(*given)
        return made[repr(given)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published_weights, "variables_like", like_once)
        yield


def defrecs_name(name, encoder):
    for pattern, theirs in RENAMED:
        name = re.sub(pattern, theirs, name)
    dense, norm = AGGREGATED[encoder]
    name = name.replace("encoder.agg.dense.", dense).replace("encoder.agg.norm.", norm)
    return name.replace(".dense.", ".0.").replace(".norm.", ".1.")


def with_norms_that_do_something(network):
    with torch.no_grad():
        for name, value in network.state_dict().items():
            of_norm = "Norm" in type(network.get_submodule(name.rpartition(".")[0])).__name__
            if of_norm and value.ndim:
                value.copy_(torch.rand_like(value) + 0.5)
            elif value.ndim > 1:  # kernels that keep what tells points apart
                value.mul_(2)
    return network.eval()


@functools.cache
def published(encoder):
    """A PyTorch network's state dict under the published names, clouds, and what its heads say of them."""
    torch.manual_seed(0)
    points = torch.rand(2, 60, 3) * torch.tensor([[[1.0, 0.3, 0.6]], [[0.2, 1.0, 0.4]]]) - 0.5
    with torch.no_grad():
        if encoder == "dgcnn_segmentation":
            network = with_norms_that_do_something(models.SegmentationNetwork(CLASSES, 0.5))
            logits, rebuilt, _ = network(points)
            return network.state_dict(), points.numpy(), logits.numpy(), rebuilt.numpy()
        if encoder == "dgcnn_gast":
            network = gasts(**{name: v for name, v in NARROW[encoder].items() if name != "norm"})
            told = network(points)
            unused = {"input_transform_net.fc3.weight": torch.rand(9, 16)}
            return (
                network.state_dict() | unused,
                points.numpy(),
                *(told[n].numpy() for n in ("head", *GASTS_HEADS)),
            )
        options = {"name": encoder, **NARROW[encoder]}
        network = with_norms_that_do_something(models.Network(options, CLASSES, 0.5, 0.5))
        state = {defrecs_name(name, encoder): tensor for name, tensor in network.state_dict().items()}
        return state, points.numpy(), network.classify(points).numpy(), network.reconstruct(points).numpy()


def gasts(**fields):
    return with_norms_that_do_something(GASTNetwork(CLASSES, 0.5, **fields))


def saved(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    return tmp_path / "model.pth"


NORM = torch.ones(8, 1024, 20)


class GASTsHeads(nn.Module):
    @nn.compact
    def __call__(self, features, *, train):
        return [Dense(count, name=name)(features.embedding) for name, count in GASTS_HEADS.items()]


def outputs(found, points):
    """Logits, and rebuilt points or what GAST's heads say, by our own modules."""
    name = found.encoder["name"]
    encoder = ENCODERS[name](**{k: v for k, v in found.encoder.items() if k != "name"})
    task = TASKS[found.task]()
    heads = {
        "head": task.head(encoder, found.classes, 0.5),
        "pretext": GASTsHeads() if name == "dgcnn_gast" else PointwiseHead(3, use_bias=task.per_point),
    }

    def run(variables, points):
        own = {
            part: {kind: trees.get(part, {}) for kind, trees in variables.items()}
            for part in ("encoder", *heads)
        }
        features = encoder.apply(own["encoder"], points, train=False)
        told = [head.apply(own[part], features, train=False) for part, head in heads.items()]
        return jax.tree.leaves(told)

    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, points.dtype), found.variables)
    return jax.jit(run)(variables, points)


@pytest.mark.parametrize("encoder", cases(published_weights.PUBLISHED, "dgcnn", "dgcnn_gast", "pointnet"))
def test_a_state_dict_gives_pytorchs_logits_and_points(encoder, tmp_path):
    state, points, *expected = published(encoder)
    found = import_weights(saved(tmp_path, state), encoder, k=NARROW.get(encoder, {}).get("k", 20))
    assert found.classes == CLASSES and found.encoder == {"name": encoder} | NARROW.get(
        encoder, found.encoder
    )
    for ours, theirs in zip(outputs(found, points), expected, strict=True):
        assert np.ptp(theirs[0] - theirs[1]) > 0.01  # the clouds are told apart
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("points", cases((1024, None), 1024))
def test_gasts_network_of_published_points_and_neighbors_gives_pytorchs_logits(points, tmp_path):
    """In float64: by rounding to float32 others become neighbors, or the same in another order."""
    torch.manual_seed(0)
    network = gasts(layers=(8, 12, 16, 24), embedding=64, k=20, points=points)
    found = import_weights(saved(tmp_path, network.state_dict()), "dgcnn_gast")
    norm = {"norm": "batch"} if points is None else {"norm": "layer_released", "points": 1024}
    narrow = {"name": "dgcnn_gast", "k": 20, "layers": (8, 12, 16, 24), "embedding": 64}
    assert found.encoder == narrow | norm and set(found.variables["params"]["pretext"]) == set(GASTS_HEADS)
    clouds = torch.rand(2, 1024, 3, dtype=torch.float64) * torch.tensor([[[1.0, 0.3, 0.6]], [[0.2, 1, 0.4]]])
    with torch.no_grad():
        expected = network.double()(clouds)
    with jax.enable_x64(True):
        told = outputs(found, clouds.numpy())
    for ours, name in zip(told, ("head", *GASTS_HEADS), strict=True):
        theirs = expected[name].numpy()
        assert np.ptp(theirs[0] - theirs[1]) > 0.01
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def of_gast(tmp_path, *, without=(), ignore=(), k=None, **more):
    state = {
        n: tensor for n, tensor in published("dgcnn_gast")[0].items() if not n.startswith(tuple(without))
    }
    return import_weights(saved(tmp_path, state | more), "dgcnn_gast", k=k, ignore=ignore)


def test_which_of_gasts_heads_come_along(tmp_path):
    found = of_gast(tmp_path, without=["defcls_C"])
    assert set(found.variables["params"]["pretext"]) == {"about_x", "about_y"}
    found = of_gast(tmp_path, without=["defcls_C", "rotcls"], ignore=["DefRec"], **{"DefRec.bn1.bias": NORM})
    assert set(found.variables["params"]) == {"encoder", "head"}


@pytest.mark.parametrize(
    "given, words",
    [
        (
            {"DefRec.bn1.bias": NORM, "domain.mlp1.weight": NORM},
            r"unexpected 'DefRec\.bn1\.bias', 'domain\.mlp1\.weight'; --ignore DefRec --ignore domain leaves",
        ),
        ({"without": ["rotcls_C2"]}, r"missing 'rotcls_C2\.mlp1\.bias', 'rotcls_C2\.mlp1\.weight'"),
        ({"k": 20}, r"its shapes are of k = 8 neighbors, and k = 20 is given"),
        (
            {"conv2.conv.1.bias": NORM},
            r"conv2\.conv\.1\.bias is \[8, 1024, 20\], encoder/edge2/norm/bias is ",
        ),
        ({"conv5.weight": torch.tensor(1.0)}, r"no weights but single numbers are 'conv5\.weight'"),
    ],
)
def test_what_does_not_fit_gasts_network_is_told(given, words, tmp_path):
    with pytest.raises(ValueError, match=rf"model\.pth is no dgcnn_gast of GAST's code: .*{words}") as told:
        of_gast(tmp_path, **given)
    assert "\n" not in str(told.value)


def imported(tmp_path, content, **options):
    return import_weights(saved(tmp_path, content), "dgcnn", **{"k": 8, **options}).variables


def without_pretext(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("DefRec.")}


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def self_distillations(state):
    """Encoder and head behind each other's prefix."""
    return {
        re.sub(r"^C\.", "decoder.", name) if name.startswith("C.") else f"encoder.{name}": tensor
        for name, tensor in without_pretext(state).items()
    }


def test_the_codes_that_share_the_layers_name_them_otherwise(tmp_path):
    state = published("dgcnn")[0]
    expected = imported(tmp_path, state)
    assert set(expected["params"]) == {"encoder", "head", "pretext"}
    same = functools.partial(jax.tree.map, np.testing.assert_array_equal)
    same(imported(tmp_path, prefixed(state, "module.")), expected)
    same(
        imported(tmp_path, {"epoch": 3, "model": prefixed(state, "module."), "optimizer": {"state": {}}}),
        expected,
    )
    for kind in expected:
        del expected[kind]["pretext"]
    gast = {re.sub(r"^C\.", "cls_C.", name): tensor for name, tensor in without_pretext(state).items()}
    gast["rotcls_C1.mlp1.weight"] = torch.zeros(4, 64)
    same(imported(tmp_path, gast, ignore=["rotcls_C1"]), expected)
    student, teacher = self_distillations(state), {n: t + 1 for n, t in self_distillations(state).items()}
    same(imported(tmp_path, student), expected)
    both = {"state_dict": prefixed(student, "net.") | prefixed(teacher, "ema.")}
    same(imported(tmp_path, both, part="net"), expected)
    same(imported(tmp_path, {"net": student, "ema": teacher}, part="net"), expected)
    with pytest.raises(
        ValueError, match=r"several networks: 'state_dict.ema.', 'state_dict.net.'; choose with --part"
    ):
        imported(tmp_path, both)


def changed(**fields):
    return published("dgcnn")[0] | fields


def lacking(*names):
    return {name: tensor for name, tensor in published("dgcnn")[0].items() if name not in names}


REFUSED = {
    "another encoder's": (
        lambda: published("pointnet")[0],
        r"it lacks 'conv5.weight'",
    ),
    "no network's": (lambda: {"weight": torch.ones(3)}, r"it lacks conv1\.conv\.0\.weight; it has 'weight'"),
    "no tensor": (lambda: {"epoch": 3}, r"it lacks conv1\.conv\.0\.weight; it has no tensors"),
    "a name too few": (lambda: lacking("bn5.bias"), r"of another network: missing 'bn5.bias'"),
    "names too many": (
        lambda: changed(**{f"rotcls_C{i}.mlp1.weight": NORM for i in range(6)}),
        r"unexpected 'rotcls_C0.mlp1.weight', .* and 2 more; --ignore rotcls_C0 .*leaves .*--ignore PREFIX",
    ),
    "LayerNorm, as GAST's release": (
        lambda: {
            **lacking("conv1.conv.1.running_mean", "conv1.conv.1.running_var"),
            "conv1.conv.1.weight": NORM,
        },
        r"missing 'conv1.conv.1.running_mean', 'conv1.conv.1.running_var'\. .*docs/export\.md",
    ),
    "another shape": (
        lambda: changed(**{"conv5.weight": torch.ones(64, 59, 1)}),
        r"conv5.weight is \[64, 59, 1\], encoder/agg/dense/kernel is \[60, 64\]",
    ),
    "a kernel of more than one point": (
        lambda: changed(**{"conv5.weight": torch.ones(64, 60, 3)}),
        r"conv5.weight is \[64, 60, 3\]",
    ),
    "NaN": (lambda: changed(**{"bn5.bias": torch.full((64,), torch.nan)}), r"bn5.bias is not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_network_is_refused_in_one_line_that_names_what_does_not_fit(case, tmp_path):
    content, words = REFUSED[case]
    with pytest.raises(ValueError, match=rf"model\.pth is no dgcnn of DefRec's code: .*{words}") as told:
        imported(tmp_path, content())
    assert "\n" not in str(told.value) and "--ignore" in str(told.value)


def test_self_distillations_pointnet_has_another_slope_and_bias(tmp_path):
    torch.manual_seed(0)
    points, own = torch.rand(3, 60, 3) - 0.5, {"negative_slope": 0.01, "head_bias": True}
    network = models.Network({"name": "pointnet", **NARROW["pointnet"], **own}, CLASSES, 0.5, 0.5)
    assert len(network.head.fc1.dense.bias) == 32
    with_norms_that_do_something(network)
    state = {defrecs_name(name, "pointnet"): tensor for name, tensor in network.state_dict().items()}
    found = import_weights(saved(tmp_path, state), "pointnet")
    assert own.items() <= found.encoder.items()
    with torch.no_grad():
        logits = network.classify(points).numpy()
    np.testing.assert_allclose(outputs(found, points.numpy())[0], logits, rtol=1e-4, atol=1e-5)


class Harmful:
    def __reduce__(self):
        return print, ("harm",)


@pytest.mark.parametrize("content", [Harmful(), {"state_dict": {}, "callback": Harmful()}])
def test_what_could_run_code_is_not_loaded(content, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"model\.pth: not loaded, .*could run code .*torch\.save\(") as told:
        imported(tmp_path, content)
    assert capsys.readouterr().out == "" and "\n" not in str(told.value)


def test_what_is_no_file_of_pytorch_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.pth: no such file"):
        import_weights(tmp_path / "absent.pth", "dgcnn")
    path = saved(tmp_path, published("dgcnn")[0])
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.pth: not loaded, for it is damaged") as told:
            import_weights(path, "dgcnn")
        assert "\n" not in str(told.value)
    with pytest.raises(ValueError, match=r"--encoder = 'dgcn' is not known\. Did you mean 'dgcnn'"):
        import_weights(path, "dgcn")


def test_without_pytorch_it_is_told_what_to_install(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(published_weights.importlib, "import_module", absent)
    with pytest.raises(ValueError, match=r"model\.pth: .*pip install torch"):
        import_weights(tmp_path / "model.pth", "dgcnn")
