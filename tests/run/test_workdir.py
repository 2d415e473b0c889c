import functools
import json

import chex
import jax
import numpy as np
import optax
import pytest

from smdsb_jax import resolve
from smdsb_jax.config import flatten
from smdsb_jax.run import checkpoint
from smdsb_jax.run.workdir import last_checkpoint, load_variables, refuse_other_trajectory, write_config
from smdsb_jax.state import TrainState
from smdsb_jax.weights import write_weights
from tests.tiny_run import tiny_config

CLASSES = ("bed", "chair")


def saved_info(stage=1, step=4, classes=CLASSES, **fields):
    config = resolve(tiny_config(**fields)).to_dict()
    return checkpoint.Info(step, stage, step, {}, config, classes, checkpoint.DRAWS, (), {})


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


def test_a_run_that_drew_other_numbers_is_refused_in_one_line_unless_it_is_finished(tmp_path):
    earlier, config = saved_info()._replace(draws=1), resolve(tiny_config())
    with pytest.raises(ValueError, match="drew other random numbers: .* but not resumed") as error:
        refuse_other_trajectory(earlier, config, CLASSES, tmp_path)
    assert "\n" not in str(error.value)
    refuse_other_trajectory(earlier, config, CLASSES, tmp_path, finished=True)
    source_only = resolve(tiny_config("source_only"))  # draws nothing for a pretext task
    unchanged = saved_info()._replace(draws=1, config=source_only.to_dict())
    refuse_other_trajectory(unchanged, source_only, CLASSES, tmp_path)


def test_other_data_are_told_by_split_and_what_an_earlier_revision_did_not_note_is_not(tmp_path):
    noted = {"clouds": 9, "points": 64, "labels": "a", "sums": [0.5]}
    saved = saved_info()._replace(data={"target train": noted})
    same = functools.partial(refuse_other_trajectory, workdir=tmp_path, classes=CLASSES)
    same(saved, resolve(tiny_config()), data={"target train": noted, "target test": noted})
    same(saved_info(), resolve(tiny_config()), data={"target train": noted})
    with pytest.raises(ValueError, match=r"target train: 9 clouds of 64 points -> 8 of 64"):
        same(saved, resolve(tiny_config()), data={"target train": noted | {"clouds": 8}})


def test_changes_are_told_together(tmp_path):
    with pytest.raises(ValueError) as error:
        refuse_other_trajectory(saved_info(), resolve(tiny_config(seed=2)), ("sofa",), tmp_path)
    assert "config.seed" in str(error.value) and "classes" in str(error.value)


def variables_of(step):
    kernel = {"encoder": {"kernel": np.full((2, 3), step, np.float32)}}
    return {"params": kernel, "batch_stats": {"encoder": {"mean": np.ones(3, np.float32)}}}


def write_run(workdir, stages):
    """A checkpoint per item of `stages`: 1, 2, …"""
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        for step, stage in enumerate(stages, start=1):
            variables = variables_of(step)
            opt_state = optax.sgd(0.1).init(variables["params"])
            state = TrainState(np.int32(step), jax.random.key(0), variables, opt_state, (), ())
            checkpoint.save(checkpointer, step, stage, jax.device_put(state, place), None, {}, {}, CLASSES)


def loaded(init_from, stages=(1, 2), classes=CLASSES):
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return load_variables(str(init_from), stages, classes, place)


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    write_run(workdir, (1, 1, 2))
    return workdir


@pytest.mark.parametrize(
    "named, stages, step",
    [
        ("", (1, 2), 3),
        ("", (1,), 3),
        ("", (2,), 2),  # its network makes the pseudo-labels
        ("checkpoints/1", (1, 2), 1),
        ("checkpoints/1", (2,), 1),
        ("checkpoints/3", (2,), 3),
    ],
)
def test_the_network_to_start_from(two_stages, named, stages, step):
    chex.assert_trees_all_equal(loaded(two_stages / named, stages), variables_of(step))


def test_a_path_from_here_and_a_link_name_a_network_too(two_stages, tmp_path, monkeypatch):
    (tmp_path / "best").symlink_to(two_stages / "checkpoints" / "1")
    monkeypatch.chdir(tmp_path)
    chex.assert_trees_all_equal(loaded("best"), variables_of(1))
    monkeypatch.chdir(two_stages / "checkpoints")
    chex.assert_trees_all_equal(loaded("1"), variables_of(1))


def test_another_network_than_there_is_is_refused_with_the_remedy(two_stages, tmp_path):
    remedy = r"Give the workdir of a run, one .*workdir/checkpoints/STEP.*, or a file \*\.safetensors\.$"
    with pytest.raises(ValueError, match=r"^config\.init_from: .*step 7\. There are: 1, 2, 3\. " + remedy):
        loaded(two_stages / "checkpoints" / "7")
    with pytest.raises(ValueError, match=r"^config\.init_from = .* it has no checkpoints/\. " + remedy):
        loaded(two_stages / "checkpoints")
    write_run(tmp_path, (2,))
    with pytest.raises(ValueError, match=r"^config\.init_from: .*no checkpoint of stage 1\. " + remedy):
        loaded(tmp_path, (2,))
    with pytest.raises(ValueError, match="that network has the classes bed, chair, this run bed"):
        loaded(two_stages, classes=("bed",))


def test_a_file_of_weights_is_a_network_too(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, variables_of(4), {"classes": '["bed", "chair"]'})
    chex.assert_trees_all_equal(loaded(path, (2,)), variables_of(4))
    with pytest.raises(
        ValueError, match=r"config\.init_from: that network has the classes bed, chair, this run sofa"
    ):
        loaded(path, classes=("sofa",))
    write_weights(path, variables_of(5), {})  # of a research code: only the number of the classes is known
    chex.assert_trees_all_equal(loaded(path, classes=("sofa", "table")), variables_of(5))


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("w.safetensors", None, r"config\.init_from: .*w\.safetensors: cannot be read as safetensors"),
        (
            "w.safetensors",
            b"\x80\x04pickle",
            r"config\.init_from: .*w\.safetensors: cannot be read as safetensors",
        ),
        (
            "w.pth",
            b"\x80\x04pickle",
            r"config\.init_from = .*w\.pth' is a file of another kind.*smdsb import makes one",
        ),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, name, content, words):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words) as told:
        loaded(tmp_path / name)
    assert "\n" not in str(told.value)


def test_what_a_file_says_of_its_classes_must_be_names(tmp_path):
    for classes in ("bed, chair", "3", '{"bed": 1}', '["bed", 3]'):
        write_weights(tmp_path / "w.safetensors", variables_of(1), {"classes": classes})
        with pytest.raises(
            ValueError, match=r"config\.init_from: .*w\.safetensors: its classes are no list of names"
        ):
            loaded(tmp_path / "w.safetensors")


def test_a_folder_without_a_run_is_refused_and_left_alone(tmp_path):
    with pytest.raises(ValueError, match=r"config\.init_from = .*no checkpoints/"):
        loaded(tmp_path)
    assert last_checkpoint(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_last_checkpoint_is_looked_at_only(two_stages):
    before = sorted(two_stages.rglob("*"))
    found = last_checkpoint(two_stages)
    assert found is not None and (found.total_step, found.stage, found.step) == (3, 2, 3)
    assert sorted(two_stages.rglob("*")) == before


def test_the_configuration_is_written_flat_and_whole(tmp_path):
    config = resolve(tiny_config(seed=5))
    write_config(config, tmp_path / "new" / "run")
    write_config(config, tmp_path / "new" / "run")
    assert [p.name for p in (tmp_path / "new" / "run").iterdir()] == ["config.json"]
    read = json.loads((tmp_path / "new" / "run" / "config.json").read_text())
    expected = {k: list(v) if isinstance(v, tuple) else v for k, v in flatten(config).items()}
    assert read == expected and read["seed"] == 5
