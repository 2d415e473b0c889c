import re
import shutil

import jax
import numpy as np
import pytest

import smdsb_jax
from smdsb_jax import choose
from smdsb_jax.datasets import embedded
from smdsb_jax.report import summary
from smdsb_jax.report.embedding import spread_rows
from smdsb_jax.report.summary import judge, selected_rows, write_summary
from smdsb_jax.run import loop
from smdsb_jax.run.loop import train_and_evaluate
from smdsb_jax.run.records import read_records
from smdsb_jax.scores import SELECT_BY
from tests.shared import step_without_network
from tests.tiers import exhaustive
from tests.tiny_run import tiny_config

SOURCE_VAL, TARGET_TEST = "source_val/accuracy", "target_test/accuracy"
PICTURES = ("class_accuracy.png", "confusion.png", "curves.png", "embedding.png", "saliency.png")


@pytest.fixture(autouse=True)
def few_clouds(monkeypatch):
    monkeypatch.setattr(summary, "EMBEDDED", 12)


def assert_pictures(workdir, names=PICTURES):
    for name in names:
        content = (workdir / name).read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 5000, name


@exhaustive
def test_a_run_that_selects_by_pretext_losses_has_its_map_drawn_by_skewness(tiny_run, tmp_path, monkeypatch):
    model, titles = smdsb_jax.load(tiny_run), []
    config = model.config.copy_and_resolve_references()
    config.selection.statistic = "pretext_loss"
    monkeypatch.setattr(
        summary.pictures, "saliency", lambda path, points, maps, *given: titles.extend(given[0])
    )
    val = embedded.load("", "catalog", points=32).val
    summary.draw_saliency(tmp_path / "saliency.png", model._replace(config=config), val)
    assert len(titles) == 4 and all("skewness" in title for title in titles)


def test_the_rows_are_what_the_checkpoints_and_records_say(tiny_run):
    rows = {(row.stage, row.select_by): row for row in selected_rows(tiny_run)}
    assert set(rows) == {(stage, name) for stage in (1, 2) for name in SELECT_BY}
    records = [r for r in read_records(tiny_run / "metrics.jsonl") if TARGET_TEST in r]
    for stage in (1, 2):
        scored = {r["step"] - 6 * (stage - 1): r for r in records if r["stage"] == stage}
        for selection in SELECT_BY:
            row = rows[stage, selection]
            record = scored[row.step]
            assert row.scores == {name: record[name] for name in row.scores}
            assert {SOURCE_VAL, TARGET_TEST, "validator/snd"} <= row.scores.keys()
        assert rows[stage, "last"].step == 6
        for selection, name in (("source_val", SOURCE_VAL), ("oracle", TARGET_TEST)):
            best = max(scored, key=lambda step: (scored[step][name], -step))
            assert rows[stage, selection].step == best


def test_the_confusion_of_a_model_has_its_recorded_accuracy(tiny_run):
    model = smdsb_jax.load(tiny_run)
    confusion = judge(model, embedded.load("", "scan", points=32).test).confusion(7)
    row = next(r for r in selected_rows(tiny_run) if (r.stage, r.select_by) == (2, "last"))
    assert np.trace(confusion) / confusion.sum() == pytest.approx(row.scores[TARGET_TEST])


def test_a_run_of_both_stages(tiny_run, tmp_path, monkeypatch):
    workdir, given = shutil.copytree(tiny_run, tmp_path / "run"), {}
    for name, module in (("saliency", summary.pictures), ("embeddings", summary)):
        whole = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, n=name, w=whole: given.update({n: a}) or w(*a))
    text = write_summary(workdir)
    assert_pictures(workdir)
    *_, titles, heading = given["saliency"]
    assert (
        heading
        == "lowest and highest skewness of 48 clouds of catalog (source) validation; stage 2, last step"
    )
    assert len(titles) == 4 and all(
        re.fullmatch(r"true \w+, predicted \w+\nskewness -?\d+\.\d", t) for t in titles
    )
    _, panels, label, domain, _, names, heading = given["embeddings"]
    assert list(panels) == ["before: untrained", "after: stage 2, last step"]
    assert names == ["catalog (source), test", "scan (target), test"] and heading.startswith(
        "catalog → scan: "
    )
    scans, rows = embedded.load("", "scan", points=32).test, spread_rows(174, 12)
    assert label[domain == "target"].tolist() == scans.label[rows].tolist() and len(label) == 24
    model = smdsb_jax.load(tiny_run)
    own = smdsb_jax.samples(model, scans.points[rows]).embedding
    np.testing.assert_allclose(panels["after: stage 2, last step"][12:], own, rtol=1e-4, atol=1e-5)
    assert "Scores in %, catalog → scan:" in text and "stage 2, last step" in text
    written = text.partition("Written:\n")[2].split()
    assert [p.rpartition("/")[2] for p in written] == [
        "config.json", "metrics.jsonl", "tensorboard", "checkpoints", *PICTURES,
    ]  # fmt: skip
    for row in selected_rows(tiny_run):
        assert f"{100 * row.scores[TARGET_TEST]:.1f}" in text


def test_before_training_is_the_network_that_the_seed_made(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)  # adds 0.001 to each parameter
    config = tiny_config(stages=(1,), stage1__steps=2, eval_every=2, seed=3)
    model = smdsb_jax.load(train_and_evaluate(config, tmp_path / "run").workdir)
    before = summary.initial_variables(model)["params"]["encoder"]
    after = model.variables["params"]["encoder"]
    assert jax.tree.structure(before) == jax.tree.structure(after)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a + 2e-3, b, atol=1e-6), before, after)
    found = []
    monkeypatch.setattr(summary, "embeddings", lambda _, panels, *__: found.extend(panels))
    other = model.config.copy_and_resolve_references()
    other.init_from = "elsewhere"
    domains = [embedded.load("", name, points=32) for name in ("catalog", "scan")]
    summary.draw_embeddings(tmp_path / "e.png", model._replace(config=other), "last step", *domains)
    assert found == ["after: last step"]  # what it began with is in another run


@exhaustive
def test_another_way_of_choosing_is_the_headline_and_what_is_drawn(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    again = shutil.copytree(tiny_run, tmp_path / "run")
    config = tiny_config(select_by="oracle", stage2__steps=7, eval_every=7)
    text = write_summary(train_and_evaluate(config, again).workdir)
    assert "oracle: best on target test (headline)" in text and "last (headline)" not in text
    assert "stage 2, oracle: best on target test:" in text
    best = next(r for r in selected_rows(again) if (r.stage, r.select_by) == (2, "oracle"))
    assert smdsb_jax.load(again).step == best.step


def test_a_validator_that_cannot_choose_says_who_did(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    again = shutil.copytree(tiny_run, tmp_path / "run")
    train_and_evaluate(tiny_config(select_by="snd", stage2__steps=7, eval_every=7), again)
    rows = {(row.stage, row.select_by): row for row in selected_rows(again)}
    for stage in (1, 2):  # networks of a few steps are collapsed
        own, other = rows[stage, "snd"], rows[stage, "source_val"]
        assert own.step == other.step and "are collapsed" in own.note and "by source_val" in own.note
    model = smdsb_jax.load(again)
    assert model.step == rows[2, "snd"].step and model.note == rows[2, "snd"].note


def test_stage_1_alone_without_pretext_task_and_selection(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    config = choose(tiny_config(stages=(1,), stage1__steps=2, selection__statistic="none"), "pretext", "none")
    text = write_summary(train_and_evaluate(config, tmp_path).workdir)
    assert_pictures(tmp_path)
    assert {row.stage for row in selected_rows(tmp_path)} == {1}
    assert "stage 1, last step" in text and "stage 2" not in text


def test_a_run_on_labels_of_points(segmented_run, tmp_path):
    workdir = shutil.copytree(segmented_run, tmp_path / "run")
    text = write_summary(workdir)
    assert "target test mIoU, %" in text and "| upper_arm" in text and "accuracy of all" in text
    pictures = ("class_iou.png", "confusion.png", "curves.png", "parts.png", "saliency.png")
    assert sorted(path.name for path in workdir.glob("*.png")) == list(pictures)
    assert_pictures(workdir, pictures)
