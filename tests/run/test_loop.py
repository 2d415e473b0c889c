import functools
import json
import os
import shutil
import signal
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from smdsb_jax.configs.methods import METHODS

import smdsb_jax
from smdsb_jax import choose, resolve
from smdsb_jax.build import abstract_state, build_labels, build_parts, load_domains
from smdsb_jax.datasets import embedded
from smdsb_jax.files import only_writer
from smdsb_jax.pretext import Pretext
from smdsb_jax.pretext.base import unchanged
from smdsb_jax.run import checkpoint, loop
from smdsb_jax.run.evaluation import jit_eval_step, predict_split
from smdsb_jax.run.loop import Run, start_stage, train_and_evaluate
from smdsb_jax.run.records import Reporter, read_records
from tests import processes
from tests.shared import step_that_moves_all, step_without_network
from tests.tiers import cases, exhaustive
from tests.tiny_run import tiny_config, tiny_segmentation

SOURCE_VAL, TARGET_TEST = "source_val/accuracy", "target_test/accuracy"


def saved(workdir):
    """The last checkpoint's arrays (keys as numbers) and what it says of itself."""
    with checkpoint.open_checkpoints(workdir) as checkpointer:
        last = checkpoint.info(checkpointer)
        parts = build_parts(resolve(ConfigDict(last.config)), last.stage, len(last.classes))
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        of_points = parts.network.task.per_point
        shape = ((50, 2048) if of_points else (430,)) if last.stage == 2 else None
        found = checkpoint.restore(checkpointer, last.total_step, abstract_state(parts, place), shape)
    state = found.state.replace(key=jax.random.key_data(found.state.key))
    return state, found.pseudo_labels, last


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_same_run(a, b):
    (*arrays_a, last_a), (*arrays_b, last_b) = saved(a), saved(b)
    assert (last_a.stage, last_a.step) == (last_b.stage, last_b.step)
    chex.assert_trees_all_equal(arrays_a, arrays_b)  # bitwise


def test_a_run_leaves_what_a_user_expects(tiny_run):
    records = read_records(tiny_run / "metrics.jsonl")
    trained = [r for r in records if "loss/class" in r]
    assert [r["step_of_stage"] for r in trained] == 2 * [2, 3, 4, 6]
    rates = [1e-3 * (1 + np.cos(np.pi * (r["step_of_stage"] - 1) / 6)) / 2 for r in trained]  # cosine, to 0
    np.testing.assert_allclose([r["learning_rate"] for r in trained], rates, rtol=1e-5)
    steps = [(r["stage"], r["step"]) for r in trained]
    assert steps == [(1, s) for s in (2, 3, 4, 6)] + [(2, s) for s in (8, 9, 10, 12)]
    scores = [r for r in records if TARGET_TEST in r]
    assert [(r["stage"], r["step"]) for r in scores] == [(1, 3), (1, 6), (2, 9), (2, 12)]
    config = json.loads((tiny_run / "config.json").read_text())
    assert config["selection.side"] == "low" and config["selection.target_shift"] == [0.1, 0.1]
    state, labels, last = saved(tiny_run)
    assert (last.stage, last.step, last.total_step) == (2, 6, 12)
    assert int(state.step) == 6 and labels.label.shape == (430,)
    assert last.metrics[SOURCE_VAL] == scores[-1][SOURCE_VAL]


def test_it_learns(tmp_path):
    config = tiny_config("source_only", stage1__steps=120, eval_every=120, encoder__embedding=128)
    config.encoder.layers = (32, 64)
    config.classification.dropout, config.optimizer.learning_rate = 0.0, 1e-2
    train_and_evaluate(config, tmp_path)
    losses = [r["loss/class"] for r in read_records(tmp_path / "metrics.jsonl") if "loss/class" in r]
    assert np.mean(losses[-5:]) < 0.9 * 0.8 * np.log(7)  # knowing nothing costs ln 7; the weight is 0.8


def test_pseudo_labels_are_those_of_the_last_stage_1_network(tiny_run):
    model = smdsb_jax.load(tiny_run, "last", stage=1)
    target = embedded.load("", "scan", points=32).train
    logits = predict_split(
        jit_eval_step(model.config, 7), model.variables, target.points, 64
    ).predictions.logits
    found = saved(tiny_run)[1]
    np.testing.assert_array_equal(found.label, logits.argmax(axis=1))
    assert (np.asarray(found.weight) == 1).all()


def test_a_finished_run_says_so_and_stays(tiny_run, capsys):
    before = contents(tiny_run)
    other = tiny_config(log_every=1, eval_every=1, keep_checkpoints=1)  # as a run that goes on may have
    result = train_and_evaluate(other, tiny_run)
    assert result.finished and result.state is None and "is finished" in capsys.readouterr().out
    assert contents(tiny_run) == before


def test_a_second_run_in_the_folder_of_a_living_one_is_refused(tiny_run):
    before = contents(tiny_run)
    with only_writer(tiny_run, ""):
        with pytest.raises(ValueError, match=f"process {os.getpid()} on .* is writing here. Wait"):
            train_and_evaluate(tiny_config(), tiny_run)
    assert contents(tiny_run) == before


SCRIPT = """
import sys
from smdsb_jax.run import loop
from tests.tiny_run import tiny_config, tiny_segmentation
if len(sys.argv) > 2:  # kill ourselves after that many steps of both stages
    import os, pathlib, signal, time
    at, counted, original = int(sys.argv[2]), [0], loop.sample_batch
    def counting(*args, **kwargs):
        counted[0] += 1
        if counted[0] > at:
            while not (pathlib.Path(sys.argv[1]) / "checkpoints" / sys.argv[3]).exists():
                time.sleep(0.05)  # written beside the training
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    loop.sample_batch = counting
loop.train_and_evaluate(tiny_config(), sys.argv[1])
"""


@exhaustive
def test_killed_in_each_stage_and_resumed_it_is_bitwise_the_same_run(tiny_run, tmp_path):
    script, workdir = tmp_path / "train.py", tmp_path / "run"
    script.write_text(SCRIPT)
    # from checkpoint 3 on, 7 more are in stage 2
    for steps, after, stage in ((4, 3, 1), (7, 9, 2)):
        killed = processes.run(script, workdir, steps, after, PYTHONPATH=str(processes.ROOT))
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
        with checkpoint.open_checkpoints(workdir) as checkpointer:
            assert checkpoint.info(checkpointer).stage == stage
    done = processes.run(script, workdir, PYTHONPATH=str(processes.ROOT))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Resuming from stage 2, step 3" in done.stdout
    assert_same_run(tiny_run, workdir)
    records = [p.joinpath("metrics.jsonl").read_text() for p in (tiny_run, workdir)]
    assert records[0] == records[1]


def kinds_of_state():
    """The first method of each kind of state beside the network, and of each start of stage 2."""
    found = {}
    for method in METHODS:
        config = resolve(tiny_config(method))
        of_task = config.pretext.name if build_parts(config, 1, 7).pretext.update is not unchanged else ""
        kind = of_task, config.combine.name, config.pseudo_labels.name, config.stages, config.stage2.init
        found.setdefault(kind, method)
    return list(found.values())


IOU = ("mIoU", "mIoU_all_parts", "mIoU_pooled", "accuracy")


class Killed(BaseException):
    """As sudden as a signal, and seen by nobody on the way."""


KINDS = {kind: functools.partial(tiny_config, kind) for kind in kinds_of_state() if kind != "defrec"}
KINDS["uncertainty"] = lambda: choose(tiny_config(), "combine", "uncertainty")  # with an optimizer of its own
KINDS["labels of points"] = tiny_segmentation


@pytest.mark.parametrize("kind", cases(KINDS, "labels of points"))
def test_every_kind_of_state_is_bitwise_the_same_after_a_restart(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "train_step", step_that_moves_all)
    config, steps, original = KINDS[kind](), [0], loop.sample_batch
    train_and_evaluate(config, tmp_path / "whole")

    def killing(*args, **kwargs):
        steps[0] += 1
        if steps[0] in (5, 5 + 8):  # of the first start in stage 1, of the second one in stage 2
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(loop, "sample_batch", killing)
    for stage in config.stages:
        with pytest.raises(Killed):
            train_and_evaluate(config, tmp_path / "killed")
        with checkpoint.open_checkpoints(tmp_path / "killed") as checkpointer:
            last = checkpoint.info(checkpointer)
            assert (last.stage, last.step) == (stage, 3)
    capsys.readouterr()
    assert train_and_evaluate(config, tmp_path / "killed").finished
    assert f"Resuming from stage {config.stages[-1]}, step 3" in capsys.readouterr().out
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    records = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert records[0] == records[1]


def test_a_signal_saves_and_stops_and_the_rest_is_the_same(tiny_run, tmp_path, monkeypatch):
    original, sent = loop.sample_batch, []

    def interrupting(*args, **kwargs):
        if kwargs["step"] == 4 and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
        return original(*args, **kwargs)

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop, "sample_batch", interrupting)
    stopped = train_and_evaluate(tiny_config(), tmp_path)
    assert not stopped.finished and int(stopped.state.step) == 5
    assert signal.getsignal(signal.SIGTERM) == handler
    rest = train_and_evaluate(tiny_config(), tmp_path)
    assert rest.finished and rest.workdir == tmp_path and int(rest.state.step) == 6
    assert_same_run(tiny_run, tmp_path)
    records = [p.joinpath("metrics.jsonl").read_text() for p in (tiny_run, tmp_path)]
    assert records[0] == records[1]  # the stop was between two log steps


def test_from_an_earlier_step_it_is_the_same_run_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "train_step", step_that_moves_all)
    config, workdir = tiny_config(keep_checkpoints=9), tmp_path / "run"
    train_and_evaluate(config, workdir)
    whole, records = saved(workdir), (workdir / "metrics.jsonl").read_bytes()
    for step in (12, 9, 3):  # the last one, of the same stage, of the stage before
        result = train_and_evaluate(config, workdir, from_step=step)
        assert result.finished and (workdir / "metrics.jsonl").read_bytes() == records
        chex.assert_trees_all_equal(saved(workdir)[:2], whole[:2])
    assert {path.name for path in (workdir / "set_aside").iterdir()} == {"6", "9", "12", "12.2"}
    assert f"Moved to {workdir}/set_aside/12." in capsys.readouterr().out
    other = tiny_config(keep_checkpoints=9)
    monkeypatch.setattr(loop, "load_domains", lambda config: turned(load_domains(config)))
    with pytest.raises(ValueError, match="falsify.*\n  source train: other clouds, or another order of them"):
        train_and_evaluate(other, workdir, from_step=9)
    assert {path.name for path in (workdir / "checkpoints").iterdir()} >= {"9", "12"}  # back again


def turned(domains):
    """The same clouds, the source's training ones upside down."""
    source, target = domains
    return source._replace(train=source.train._replace(points=-source.train.points)), target


def test_a_signal_in_the_last_step_finds_the_run_finished(tmp_path, monkeypatch):
    original = loop.sample_batch

    def interrupting(*args, **kwargs):
        if kwargs["step"] == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    monkeypatch.setattr(loop, "sample_batch", interrupting)
    assert train_and_evaluate(tiny_config(stages=(1,)), tmp_path).finished


def test_more_steps_go_on_and_other_fields_are_refused_with_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    train_and_evaluate(tiny_config(stages=(1,)), tmp_path)
    other = tiny_config(seed=1, optimizer__learning_rate=1e-4)
    with pytest.raises(ValueError) as error:
        train_and_evaluate(other, tmp_path)
    assert "config.optimizer.learning_rate: 0.001 -> 0.0001" in str(error.value)
    assert "config.seed: 0 -> 1" in str(error.value)
    with pytest.raises(ValueError, match="6 are done"):
        train_and_evaluate(tiny_config(stage1__steps=4), tmp_path)
    longer = tiny_config(stages=(1,), stage1__steps=8, data__root="/moved", log_every=1)
    assert int(train_and_evaluate(longer, tmp_path).state.step) == 8
    both = train_and_evaluate(tiny_config(stage1__steps=8, stage2__steps=2), tmp_path)
    assert both.finished and int(both.state.step) == 2


def test_stage_2_alone_starts_from_another_run(tiny_run, tmp_path):
    config = tiny_config(stages=(2,), init_from=str(tiny_run), encoder__embedding=16)
    assert train_and_evaluate(config, tmp_path / "a").finished
    # the labels are by the network of its stage 1, though that of its stage 2 is later
    chex.assert_trees_all_equal(saved(tmp_path / "a")[1], saved(tiny_run)[1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"config\.init_from = .* not the workdir of a run"):
        train_and_evaluate(tiny_config(stages=(2,), init_from=str(tmp_path / "empty")), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    with pytest.raises(ValueError, match="do not fit config.encoder"):
        other = tiny_config(stages=(2,), init_from=str(tiny_run), encoder__embedding=32)
        train_and_evaluate(other, tmp_path / "c")


def test_the_run_that_another_started_from_may_vanish(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    origin = shutil.copytree(tiny_run, tmp_path / "origin")
    fields = {"stages": (2,), "init_from": str(origin)}
    train_and_evaluate(tiny_config(stage2__steps=2, **fields), tmp_path / "run")
    shutil.rmtree(origin)
    longer = train_and_evaluate(tiny_config(stage2__steps=3, **fields), tmp_path / "run")
    assert longer.finished and int(longer.state.step) == 3


@pytest.mark.parametrize("start", ["stage1", "fresh"])
def test_a_pretext_task_starts_from_the_network_of_its_stage(tiny_run, start):
    def init(key, features, variables):
        return {}, jax.tree.map(jnp.copy, variables["params"]["encoder"])  # as an EMA teacher does

    config = resolve(tiny_config(stage2__init=start))
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    silent = Reporter(*[lambda *_: None] * 3)
    run = Run(
        config, *load_domains(config), {}, place, place, jit_eval_step(config, 7), build_labels(config), None,
        silent, threading.Event(),
    )  # fmt: skip
    given = jax.device_get(saved(tiny_run)[0].variables)
    for stage in (1, 2):
        task = Pretext(init, lambda *_: None, lambda *_: None, ("some",))
        parts = build_parts(config, stage, 7)._replace(pretext=task)
        state, _ = start_stage(run, parts, stage, given)
        chex.assert_trees_all_equal(state.pretext, state.variables["params"]["encoder"])
        kernels = [tree["conv1"]["dense"]["kernel"] for tree in (state.pretext, given["params"]["encoder"])]
        assert np.array_equal(*kernels) == (stage == 1 or start == "stage1")


@pytest.mark.parametrize("ends_by", ["evaluation", "signal"])
def test_a_non_finite_update_is_refused_before_its_parameters_are_saved(tmp_path, monkeypatch, ends_by):
    def sampling(*args, **kwargs):
        if ends_by == "signal" and kwargs["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    original = loop.sample_batch
    monkeypatch.setattr(loop, "train_step", functools.partial(step_without_network, poisoned=5))
    monkeypatch.setattr(loop, "sample_batch", sampling)
    train_and_evaluate(tiny_config(stages=(1,), stage1__steps=3), tmp_path)
    before = contents(tmp_path / "checkpoints")
    with pytest.raises(FloatingPointError, match=r"Stage 1, step 5: update/norm = nan"):
        train_and_evaluate(tiny_config(stages=(1,)), tmp_path)
    assert contents(tmp_path / "checkpoints") == before


def test_a_non_finite_loss_stops_the_run_and_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    original = loop.sample_batch

    def poisoned(*args, **kwargs):
        batch = original(*args, **kwargs)
        if kwargs["step"] == 4:
            batch.source.points[0] = np.nan
        return batch

    monkeypatch.setattr(loop, "sample_batch", poisoned)
    with pytest.raises(FloatingPointError, match=r"Stage 1, step 5: .*loss/class = nan"):
        train_and_evaluate(tiny_config(), tmp_path)
    assert saved(tmp_path)[2].total_step == 3


def step_with_undefined_scores(parts, state, batch, scores=None, defined=0):
    state, metrics = step_without_network(parts, state, batch)
    return state, metrics | {"selection/source/undefined": jnp.where(state.step == defined, 0.5, 1.0)}


def test_a_statistic_that_is_nan_for_all_samples_stops_the_run_at_its_first_record(tmp_path, monkeypatch):
    config = tiny_config(stages=(1,))
    some = functools.partial(step_with_undefined_scores, defined=2)  # in the first interval alone
    monkeypatch.setattr(loop, "train_step", some)
    with pytest.raises(FloatingPointError, match="Stage 1, step 3: the statistic skewness is NaN"):
        train_and_evaluate(config, tmp_path / "some")
    monkeypatch.setattr(loop, "train_step", step_with_undefined_scores)
    with pytest.raises(FloatingPointError, match="Stage 1, step 2: the statistic skewness") as error:
        train_and_evaluate(config, tmp_path / "none")
    assert "\n" not in str(error.value)


def test_a_batch_larger_than_a_domain_is_warned_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    config = tiny_config(batch_size=1024, stages=(1,), stage1__steps=1)
    assert train_and_evaluate(config, tmp_path).finished
    said = capsys.readouterr().out
    assert "Warning: catalog (source): 430 training clouds, fewer than its 512 of a step: each is" in said


def test_a_threshold_that_leaves_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    config = tiny_config(pseudo_labels__threshold=1.0, stage1__steps=2)
    with pytest.raises(ValueError, match=r"config\.pseudo_labels\.threshold leaves no target cloud"):
        train_and_evaluate(config, tmp_path)


def test_a_rule_that_labels_again_may_begin_with_no_label(tmp_path, capsys):
    gast = tiny_config("gast", pseudo_labels__threshold=1.0, pseudo_labels__step=-0.5)
    config = tiny_config()  # whose steps are compiled already
    config.pseudo_labels = gast.pseudo_labels
    assert train_and_evaluate(config, tmp_path).finished
    said = [line for line in capsys.readouterr().out.splitlines() if "Pseudo-labels: " in line]
    assert "none yet" in said[0] and "target clouds, mean confidence" in said[2]


def test_signals_are_left_alone_outside_the_main_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    results = []
    thread = threading.Thread(
        target=lambda: results.append(train_and_evaluate(tiny_config(stages=(1,), stage1__steps=2), tmp_path))
    )
    thread.start()
    thread.join()
    assert results and results[0].finished


def test_the_host_does_not_wait_between_records(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    waits = []
    original = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda x: (waits.append(time.time()), original(x))[1])
    train_and_evaluate(tiny_config(stages=(1,), stage1__steps=20, log_every=10, eval_every=20), tmp_path)
    assert len(waits) <= 4  # the first step, two records, the checksums of the checkpoint


def test_a_run_on_labels_of_points_is_scored_and_labels_every_stored_point(segmented_run):
    records = read_records(segmented_run / "metrics.jsonl")
    scored = [record for record in records if "target_test/mIoU" in record]
    assert [record["step"] for record in scored] == [3, 6, 9, 12]
    names = [f"{role}/{name}" for role in ("source_val", "target_test") for name in IOU]
    assert all(0 <= record[name] <= 1 for record in scored for name in names)
    assert all(np.isfinite(v) for record in records for v in record.values())
    config = resolve(tiny_segmentation())
    _, target = load_domains(config)
    parts = build_parts(config, 2, len(target.classes))
    with checkpoint.open_checkpoints(segmented_run) as checkpointer:
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        shape = target.train.label.shape
        _, labels = checkpoint.restore(checkpointer, 12, abstract_state(parts, place), shape)
    assert labels.label.shape == shape == (50, 2048)
    assert set(np.unique(labels.label)) <= set(range(8)) and (np.asarray(labels.weight) == 1).all()
