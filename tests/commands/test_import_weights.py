import functools
import json

import jax
import numpy as np
import pytest

pytest.importorskip("torch", reason="the importer needs PyTorch: pip install torch")

import torch

from smdsb_jax import choose, default_config, resolve
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.commands.import_weights import main
from smdsb_jax.run.workdir import load_variables
from smdsb_jax.weights import read_weights
from tests.test_published_weights import CLASSES, NARROW, published

NAMES = ("bed", "cabinet", "chair", "lamp", "plant", "sofa", "table")


def test_a_training_can_start_from_what_it_writes(tmp_path, capsys):
    torch.save(published("pointnet")[0], tmp_path / "model.pth")
    out = tmp_path / "w.safetensors"
    words = [
        str(tmp_path / "model.pth"),
        "--encoder",
        "pointnet",
        "--out",
        str(out),
        "--classes",
        ",".join(NAMES),
    ]
    assert main(["smdsb import", *words]) == 0
    told = capsys.readouterr().out
    assert f"7 classes.\nWritten: {out}. Start from it with --config.init_from={out} and\n" in told
    assert "--config.encoder.layers=(8,8,12,16) --config.encoder.embedding=64" in told
    assert json.loads(read_weights(out)[1]["classes"]) == list(NAMES)
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    given = load_variables(str(out), (1, 2), NAMES, place)
    config = choose(default_config(), "encoder", "pointnet")
    config.encoder.update(NARROW["pointnet"])
    start = functools.partial(init_state, build_parts(resolve(config), 1, CLASSES), jax.random.key(0))
    state = jax.eval_shape(start, given)
    assert jax.tree.structure(state.variables) == jax.tree.structure(given)
    config.encoder.embedding = 128
    with pytest.raises(ValueError, match="given parameters of the encoder do not fit config.encoder"):
        jax.eval_shape(
            functools.partial(init_state, build_parts(resolve(config), 1, CLASSES), jax.random.key(0)), given
        )


def test_gasts_heads_of_turns_and_cells_go_on_with_its_pretext_task(tmp_path, capsys):
    torch.save(published("dgcnn_gast")[0], tmp_path / "model.pth")
    out = tmp_path / "w.safetensors"
    assert main(["smdsb import", str(tmp_path / "model.pth"), "--encoder=dgcnn_gast", f"--out={out}"]) == 0
    told = capsys.readouterr().out
    assert "parameters of encoder, head, pretext; 7 classes.\n" in told
    assert "--config.encoder.norm=layer_released --config.encoder.points=60" in told
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    given = load_variables(str(out), (1, 2), NAMES, place)
    config = choose(choose(default_config(), "encoder", "dgcnn_gast"), "pretext", "gast")
    config.encoder.update(NARROW["dgcnn_gast"])
    config.data.points = 60
    start = functools.partial(init_state, build_parts(resolve(config), 1, CLASSES), jax.random.key(0))
    state = jax.eval_shape(start, given)  # what has the same shapes is taken
    shapes = [jax.tree.map(np.shape, found["params"]) for found in (state.variables, given)]
    assert shapes[0] == shapes[1] and set(shapes[0]["pretext"]) == {"cell", "about_x", "about_y"}
    config.data.points = 64
    with pytest.raises(
        ValueError, match=r"encoder\.points = 60 points, these have 64: set config\.data\.points"
    ):
        resolve(config)


@pytest.mark.parametrize(
    "words, told",
    [
        ("model.pth --encoder=dgcnn --out=w.npz", "--out w.npz: give a file that ends with .safetensors"),
        ("absent.pth --encoder=dgcnn --out=w.safetensors", "absent.pth: no such file"),
        ("model.pth --encoder=dgcnn --out=w.safetensors", "model.pth is no dgcnn of DefRec's code"),
        (
            "model.pth --encoder=pointnet --out=w.safetensors --classes=bed,chair",
            "--classes has 2 names, model.pth 7 classes",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(published("pointnet")[0], "model.pth")
    with pytest.raises((SystemExit, ValueError)) as stopped:
        main(["smdsb import", *words.split()])
    found = f"{stopped.value}\n" if stopped.type is ValueError else capsys.readouterr().err
    assert told in found and found.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
