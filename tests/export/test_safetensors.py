import jax
import numpy as np
import safetensors

from smdsb_jax.export.network import about
from smdsb_jax.export.safetensors import safetensors as write
from smdsb_jax.run.workdir import load_variables
from tests.export.small_model import CLASSES, small_model


def test_any_reader_finds_arrays_by_path_and_what_they_are_of(tmp_path):
    model = small_model("dgcnn")
    write(model, tmp_path / "model.safetensors")
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "smdsb_jax", **about(model)}
        found = file.get_tensor("params/encoder/edge2/kernel")
    np.testing.assert_array_equal(found, model.variables["params"]["encoder"]["edge2"]["kernel"])


def test_a_training_can_start_from_it(tmp_path):
    model = small_model("dgcnn")
    write(model, tmp_path / "model.safetensors")
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    found = load_variables(str(tmp_path / "model.safetensors"), (2,), CLASSES, place)
    jax.tree.map(np.testing.assert_array_equal, found, model.variables)
