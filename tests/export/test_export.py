import pytest

from smdsb_jax.export import FORMATS, export
from tests.export.small_model import small_model


def test_an_unknown_format_and_a_folder_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(ValueError, match=r"format = 'onx' is not known\. Did you mean 'onnx'\?"):
        export(small_model("pointnet"), tmp_path / "x", "onx")
    with pytest.raises(ValueError, match=r"is a folder\. Give a file, for example .*model\.safetensors\."):
        export(small_model("pointnet"), tmp_path, "safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_fails_leaves_no_file(tmp_path, monkeypatch):
    def fails(model, path):
        path.write_text("half")
        raise ValueError("a package is missing")

    monkeypatch.setitem(FORMATS, "onnx", fails)
    with pytest.raises(ValueError, match="a package is missing"):
        export(small_model("pointnet"), tmp_path / "model.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []
