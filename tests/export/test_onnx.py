import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.export import network
from smdsb_jax.export.network import about, logits_of, one_cloud
from smdsb_jax.export.onnx import onnx, plain
from smdsb_jax.layers.pooled_dense import max_over_points
from tests.export.small_model import NARROW, assert_same_logits, clouds, expected_logits, small_model
from tests.tiers import cases

needs_converter = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "jax2onnx"))),
    reason="docs/export.md says how to install jax2onnx",
)


@needs_converter
@pytest.mark.filterwarnings("default")  # of the converter
@pytest.mark.parametrize("encoder", cases(NARROW, "dgcnn", "pointnet"))
def test_onnxruntime_gives_the_logits_of_any_number_of_clouds(encoder, tmp_path, capfd):
    import onnxruntime

    model = small_model(encoder)
    onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (given,), (told,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, told.name) == ("points", ["batch", 600, 3], "logits")
    of_points = [600] * model.network.task.per_point
    assert told.shape == ["batch", *of_points, 3]
    assert session.get_modelmeta().custom_metadata_map == about(model)
    expected = expected_logits(encoder)
    assert_same_logits(session.run(None, {"points": clouds()})[0], expected)
    assert_same_logits(session.run(None, {"points": clouds()[1:]})[0], expected[1:])
    assert capfd.readouterr() == ("", "")


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            yield from primitives(value.jaxpr) if hasattr(value, "jaxpr") else ()


@pytest.mark.parametrize("encoder", cases(NARROW, "dgcnn"))
def test_the_plain_form_has_standard_operations_only_and_the_same_values(encoder):
    model = small_model(encoder)
    of_batch = logits_of(model)
    of_one = plain(lambda points: of_batch(points[None])[0], one_cloud(model))
    found = set(primitives(jax.make_jaxpr(of_one)(one_cloud(model)).jaxpr))
    own = (
        "platform_index",
        "cond",
        "custom_vmap_call",
        "custom_jvp_call",
        "per_sample_linear",
        "bitcast_convert_type",
    )
    assert not found & set(own) and "dot_general" in found
    assert_same_logits(jax.jit(jax.vmap(of_one))(clouds()), expected_logits(encoder))


def test_who_has_a_maximum_which_only_a_derivative_needs_is_gone():
    found = plain(
        lambda points: max_over_points(points, jnp.eye(3))[0], jax.ShapeDtypeStruct((4, 3), jnp.float32)
    )
    cloud = jnp.asarray(clouds()[0, :4])
    found_of_all = jax.make_jaxpr(max_over_points)(cloud, jnp.eye(3))
    assert "reduce_min" in str(found_of_all) and "reduce_min" not in str(jax.make_jaxpr(found)(cloud))
    np.testing.assert_allclose(found(cloud), cloud.max(axis=0), rtol=1e-6)


def test_without_the_converter_it_is_told_how_to_install_it(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    network.package.cache_clear()
    monkeypatch.setattr(network.importlib, "import_module", absent)
    with pytest.raises(
        ValueError, match=r"needs the package onnx .*pip install --no-deps jax2onnx=="
    ) as told:
        onnx(small_model("pointnet"), tmp_path / "model.onnx")
    assert "\n" not in str(told.value)
