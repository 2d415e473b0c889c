import json
import re

import pytest
import safetensors

import smdsb_jax
from smdsb_jax.commands.export import main
from tests.untrained_run import CLASSES, save_untrained


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("run"))


def test_it_writes_the_file_and_says_what_it_expects(workdir, tmp_path, capsys):
    out = tmp_path / "new" / "model.safetensors"
    assert main(["smdsb export", "--workdir", str(workdir), "--to", "safetensors", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{workdir}, stage 1, step 0: pointnet.\n")
    assert f"Classes: {', '.join(CLASSES)}.\nWritten: {out}, {out.stat().st_size:,} bytes\n" in told
    with safetensors.safe_open(out, framework="numpy") as file:
        assert json.loads(file.metadata()["classes"]) == list(CLASSES)
        assert json.loads(file.metadata()["encoder"])["name"] == "pointnet"


def test_of_a_function_it_says_how_a_cloud_is_prepared(workdir, tmp_path, capsys):
    pytest.importorskip("flatbuffers")
    main(["smdsb export", "--workdir", str(workdir), "--to=stablehlo", "--out", str(tmp_path / "model.bin")])
    told = capsys.readouterr().out
    assert "Input: points [batch, 32, 3]. A cloud's: float32, z up; minus the mean of all points;" in told
    assert smdsb_jax.load(workdir).config.data.subsample == "uniform" and "drawn without replacement" in told


@pytest.mark.parametrize(
    "words, error, told",
    [
        (
            ["--workdir", "absent", "--to", "onnx", "--out", "x"],
            ValueError,
            "absent is not the workdir of a run",
        ),
        (["--to", "onx"], SystemExit, "invalid choice: 'onx'.*--help lists the flags"),
        (["--to", "onnx"], SystemExit, "required: --workdir, --out. --help lists the flags"),
    ],
)
def test_a_mistake_is_one_line(words, error, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as stopped:
        main(["smdsb export", *words])
    found = f"{stopped.value}\n" if error is ValueError else capsys.readouterr().err
    assert re.search(told, found) and found.count("\n") == 1
