import json

import chex
import jax
import numpy as np
import optax
import pytest

from smdsb_jax import checkpoint, resolve
from smdsb_jax.config import flatten
from smdsb_jax.state import TrainState
from smdsb_jax.workdir import load_variables, refuse_other_trajectory, write_config
from tests.tiny_run import tiny_config

CLASSES = ("bed", "chair")


def saved_info(stage=1, step=4, classes=CLASSES, **fields):
    config = resolve(tiny_config(**fields)).to_dict()
    return checkpoint.Info(step, stage, step, {}, config, classes)


def test_the_same_run_with_more_steps_is_resumed(tmp_path):
    refuse_other_trajectory(saved_info(), resolve(tiny_config()), CLASSES, tmp_path)
    refuse_other_trajectory(saved_info(), resolve(tiny_config(stage1__steps=9)), CLASSES, tmp_path)


@pytest.mark.parametrize(
    "last, fields, classes, words",
    [
        ({}, {"seed": 2}, CLASSES, "config.seed: 0 -> 2"),
        ({}, {}, ("bed", "sofa"), "classes: bed, chair -> bed, sofa"),
        ({}, {"stage1__steps": 3}, CLASSES, "config.stage1.steps: 3, but 4 are done"),
        ({"stage": 2}, {"stages": (1,)}, CLASSES, "config.stages: (1,), but the run is in stage 2"),
        ({"stage": 2}, {"stage1__steps": 7}, CLASSES, "config.stage1.steps: 6 -> 7"),
    ],
)
def test_each_change_that_falsifies_a_run_is_told(tmp_path, last, fields, classes, words):
    with pytest.raises(ValueError) as error:
        refuse_other_trajectory(saved_info(**last), resolve(tiny_config(**fields)), classes, tmp_path)
    first, *lines = str(error.value).splitlines()
    assert str(tmp_path) in first and "another --workdir" in first
    assert [line.strip() for line in lines] == [words]


def test_changes_are_told_together(tmp_path):
    with pytest.raises(ValueError) as error:
        refuse_other_trajectory(saved_info(), resolve(tiny_config(seed=2)), ("sofa",), tmp_path)
    assert "config.seed" in str(error.value) and "classes" in str(error.value)


def test_the_network_of_another_runs_last_checkpoint(tmp_path):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with checkpoint.open_checkpoints(tmp_path) as checkpointer:
        for step in (1, 2):
            kernel = {"encoder": {"kernel": np.full((2, 3), step, np.float32)}}
            variables = {"params": kernel, "batch_stats": {"encoder": {"mean": np.ones(3, np.float32)}}}
            state = TrainState(
                np.int32(step), jax.random.key(0), variables, optax.sgd(0.1).init(kernel), (), ()
            )
            checkpoint.save(checkpointer, step, 1, jax.device_put(state, sharding), None, {}, {}, CLASSES)
    found = load_variables(tmp_path, CLASSES, sharding)
    chex.assert_trees_all_equal(found, variables)
    with pytest.raises(ValueError, match="that run has the classes bed, chair, this one bed"):
        load_variables(tmp_path, ("bed",), sharding)


def test_a_folder_without_a_run_is_refused_and_left_alone(tmp_path):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with pytest.raises(ValueError, match=r"config\.init_from = .*no checkpoints/"):
        load_variables(tmp_path, CLASSES, sharding)
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_is_written_flat_and_whole(tmp_path):
    config = resolve(tiny_config(seed=5))
    write_config(config, tmp_path / "new" / "run")
    write_config(config, tmp_path / "new" / "run")
    assert [p.name for p in (tmp_path / "new" / "run").iterdir()] == ["config.json"]
    read = json.loads((tmp_path / "new" / "run" / "config.json").read_text())
    expected = {k: list(v) if isinstance(v, tuple) else v for k, v in flatten(config).items()}
    assert read == expected and read["seed"] == 5
