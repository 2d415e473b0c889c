import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from smdsb_jax.weights import read_weights, write_weights

ONE = np.ones(2, np.float32)
VARIABLES = {"params": {"encoder": {"a": {"kernel": np.ones((2, 3), np.float32)}}, "head": {"bias": ONE}},
             "batch_stats": {"encoder": {"a": {"mean": ONE}}, "head": {}}}  # fmt: skip


def test_variables_and_text_come_back_as_they_were_whatever_holds_them(tmp_path):
    transposed = jax.tree.map(lambda leaf: np.asfortranarray(leaf), VARIABLES)
    for variables in (VARIABLES, transposed, jax.device_put(VARIABLES)):
        write_weights(tmp_path / "w.safetensors", variables, {"classes": '["bed"]'})
        found, about = read_weights(tmp_path / "w.safetensors")
        assert about == {"format": "smdsb_jax", "classes": '["bed"]'}
        expected = VARIABLES | {"batch_stats": {"encoder": VARIABLES["batch_stats"]["encoder"]}}
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"conv1.weight": ONE}, r"'conv1.weight' is no variable of smdsb_jax.*smdsb import"),
        ({"params/encoder": ONE}, "'params/encoder' is no variable"),
        ({"opt_state/encoder/a": ONE}, "'opt_state/encoder/a' is no variable"),
        ({"params/encoder/a": ONE, "params/encoder/a/b": ONE}, "'params/encoder/a' is no variable"),
        ({"params/encoder//a": ONE}, "'params/encoder//a' is no variable"),
        ({"params/encoder/a": ONE.astype(np.float16)}, "is float16, or not finite: float32 is needed"),
        ({"params/encoder/a": ONE * np.nan}, "is float32, or not finite"),
    ],
)
def test_other_arrays_are_refused_in_one_line_that_names_file_and_array(tmp_path, arrays, words):
    save_file(arrays, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=rf"w\.safetensors: .*{words}") as told:
        read_weights(tmp_path / "w.safetensors")
    assert "\n" not in str(told.value)


def test_what_is_no_such_file_is_refused(tmp_path):
    write_weights(tmp_path / "w.safetensors", VARIABLES, {})
    whole = (tmp_path / "w.safetensors").read_bytes()
    for content in (None, b"", b"PK\x03\x04 a zip file", whole[:-5], whole[:30], b"\xff" * 8 + whole[8:]):
        path = tmp_path / "damaged.safetensors"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged\.safetensors: cannot be read as safetensors") as told:
            read_weights(path)
        assert "\n" not in str(told.value)
