import jax
import jax.numpy as jnp
import numpy as np
import pytest

import smdsb_jax
from smdsb_jax.analysis.subject import find_checkpoints, has_pretext, open_subject
from smdsb_jax.augment import subsample
from smdsb_jax.network import predict
from smdsb_jax.run import loop
from smdsb_jax.run.loop import train_and_evaluate
from tests.shared import step_without_network
from tests.tiny_run import tiny_config


def labels_by(model, split):
    """The argmax of a network on clouds as evaluation sees them."""
    take = lambda cloud: subsample(jax.random.key(0), cloud, 32, "uniform").points  # noqa: E731
    points = jax.jit(jax.vmap(take))(split.points)
    logits = jax.jit(lambda v, p: predict(model.network, v, p)[0])(model.variables, points)
    return np.asarray(logits).argmax(axis=1)


def test_the_last_checkpoint_of_each_stage_is_found_or_every_one(run):
    assert [(f.stage, f.step, f.total_step) for f in find_checkpoints(run)] == [(1, 40, 40), (2, 6, 46)]
    every = find_checkpoints(str(run), every=True)
    assert [(f.stage, f.step) for f in every] == [(1, 20), (1, 40), (2, 6)]
    assert {f.workdir for f in every} == {run}


def test_a_subject_is_the_checkpoint_with_its_data(run, subjects):
    for stage, step in ((1, 40), (2, 6)):
        subject, model = subjects[stage], smdsb_jax.load(run, stage=stage)
        assert (subject.stage, subject.step) == (stage, step) == (model.stage, model.step)
        assert subject.name == f"{run}, stage {stage}, step {step}"
        jax.tree.map(np.testing.assert_array_equal, subject.state.variables, model.variables)
        assert (subject.source.name, subject.target.name) == ("catalog", "scan")
        assert int(subject.state.step) == step


def test_pseudo_labels_are_the_networks_own_in_stage_1_and_the_saved_ones_in_stage_2(run, subjects):
    train = subjects[1].target.train
    own = {stage: labels_by(smdsb_jax.load(run, stage=stage), train) for stage in (1, 2)}
    assert 0 < np.mean(own[1] != own[2])  # else the test could not tell one from the other
    np.testing.assert_array_equal(subjects[1].labels.label, own[1])
    np.testing.assert_array_equal(subjects[2].labels.label, own[1])  # stage 2 trains with these
    assert subjects[2].labels.label.dtype == np.int32 and (subjects[2].labels.weight == 1).all()


def test_there_is_no_dropout_and_no_mixing(run, subjects):
    found = find_checkpoints(run)[0]
    own = {**found.config["classification"], "mixup": "pcm"}
    assert own["dropout"] == 0.5 and found.config["pretext"]["dropout"] == 0.5
    assert open_subject(found._replace(config={**found.config, "classification": own})).parts.mixup_alpha == 0
    parts, variables, config = subjects[1].parts, subjects[1].state.variables, subjects[1].config
    points = jnp.asarray(subjects[1].source.train.points[:8, :32])
    forward = jax.jit(lambda key: predict(parts.network, variables, points, key, train=True)[0])
    np.testing.assert_array_equal(*(forward(jax.random.key(seed)) for seed in (0, 1)))
    assert config.pretext.dropout == 0


def test_the_averaged_teacher_is_restored(tmp_path, monkeypatch):
    def step(parts, state, batch, scores=None):  # compiles at once
        new, metrics = step_without_network(parts, state, batch)
        return new.replace(pretext=parts.pretext.update(state.pretext, new.variables)), metrics

    monkeypatch.setattr(loop, "train_step", step)
    config = tiny_config("self_distillation", stages=(1,), stage1__steps=3)
    result = train_and_evaluate(config, tmp_path / "run")
    (found,) = find_checkpoints(tmp_path / "run")
    state = open_subject(found).state
    jax.tree.map(np.testing.assert_array_equal, state.pretext, result.state.pretext)
    assert int(state.pretext.updates) == 3
    kernel = lambda tree: np.asarray(tree["conv1"]["dense"]["kernel"])  # noqa: E731
    student = kernel(state.variables["params"]["encoder"])
    assert np.abs(kernel(state.pretext.encoder["params"]) - student).max() > 1e-5


def test_a_stage_without_pretext_task_is_told_apart(run):
    first, second = find_checkpoints(run)
    assert has_pretext(first) and has_pretext(second)
    none = {**first.config, "pretext": {"name": "none"}}
    assert not has_pretext(first._replace(config=none))
    as_gast = {**second.config, "stage2": {**second.config["stage2"], "pretext": False}}
    assert not has_pretext(second._replace(config=as_gast)) and has_pretext(first._replace(config=as_gast))


def test_a_folder_without_run_or_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not the workdir of a run.*Give the workdir") as told:
        find_checkpoints(tmp_path)
    assert "\n" not in str(told.value) and list(tmp_path.iterdir()) == []
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="checkpoints is empty. Give the workdir") as told:
        find_checkpoints(tmp_path)
    assert "\n" not in str(told.value)


def write_clouds(root, classes):
    for domain in ("catalog", "scan"):
        for number, name in enumerate(classes):
            for split in ("train", "val", "test"):
                folder = root / domain / split / name
                folder.mkdir(parents=True)
                cloud = np.random.default_rng(number).normal(size=(40, 3)).astype(np.float32)
                np.save(folder / "0.npy", cloud)


def test_data_that_are_gone_or_have_other_classes_are_refused_with_the_remedy(run, tmp_path):
    found = find_checkpoints(run)[0]
    data = {**found.config["data"], "name": "folder", "y_up": "", "cache": "", "root": str(tmp_path / "gone")}
    moved = found._replace(config={**found.config, "data": data})
    with pytest.raises(ValueError, match="gone, the data of .*, is not found from .*with --root") as told:
        open_subject(moved)
    assert "\n" not in str(told.value)
    write_clouds(tmp_path / "here", ("bottle", "car"))
    with pytest.raises(
        ValueError, match="classes bed, .*have bottle, car. Give the run's own .* --root"
    ) as told:
        open_subject(moved, root=str(tmp_path / "here"))
    assert "\n" not in str(told.value)
