import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from smdsb_jax.analysis import examine, laboratory
from smdsb_jax.analysis.examined import DOMAINS
from smdsb_jax.analysis.laboratory import analyze
from tests.analysis.conftest import SETTINGS
from tests.tiers import exhaustive
from tests.untrained_run import save_untrained

MEASURES = ("gain", "dot_o", "dot_c", "cos_c", "cos_o", "loo", "loo1")
LOSS = {"loss": "loss"}
ROWS = {"skewness": "skewness", "gini": "gini"}
GROUP = "defrec, skewness low 0.7, catalog → scan"


def measure_nothing(called):
    """In place of `measure_agreement`: made-up values. tests/launch/test_analyze.py has real gradients."""

    def made_up(subject, drawn, seed, tick):
        called.append(subject.name)
        values = np.random.default_rng(len(called)).normal(size=(16, 2, drawn.samples))
        names = dict.fromkeys(name for pair in laboratory.CHECKS for name in pair)
        checks = {name: values[0] + i * values[i] for i, name in enumerate(names)}
        angles = {"class and oracle": np.asarray(0.25)}
        return examine.Measured(dict(zip(MEASURES, values, strict=False)), checks, angles)

    return made_up


@pytest.fixture(scope="module")
def lab(run, other_seed, tmp_path_factory):
    """Two seeds' first stage and the second one of seed 0."""
    out, said = tmp_path_factory.mktemp("lab"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examine, "measure_agreement", measure_nothing([]))
        analysis = analyze([run, other_seed], out, statistics=ROWS, settings=SETTINGS, say=said.append)
    return SimpleNamespace(out=out, said=said, analysis=analysis)


@pytest.fixture
def out(lab, tmp_path):
    return shutil.copytree(lab.out, tmp_path / "lab")


@pytest.fixture
def calls(monkeypatch):
    """Whose gradients would have been measured."""
    found = []
    monkeypatch.setattr(examine, "measure_agreement", measure_nothing(found))
    return found


def quiet(workdirs, out, statistics=LOSS, **fields):
    given = {"statistics": statistics, "settings": SETTINGS, "pictures": (), "say": lambda _: None} | fields
    return analyze(workdirs, out, **given)


def test_runs_of_two_seeds_are_one_group(lab):
    found = [(e.group, e.seed, e.stage, e.step) for e in lab.analysis.examined]
    assert found == [(GROUP, 0, 1, 40), (GROUP, 0, 2, 6), (GROUP, 1, 1, 40)]
    assert {(r["group"], r["stage"], r["seeds"]) for r in lab.analysis.leaderboard} == {
        (GROUP, 1, 2),
        (GROUP, 2, 1),
    }


def test_the_tables_are_read_as_they_were_written(lab):
    rows = lab.analysis.leaderboard
    assert len(rows) == 2 * len(DOMAINS) * (len(ROWS) + 2) * len(MEASURES)
    assert {r["measure"] for r in rows} == set(MEASURES)
    pd.testing.assert_frame_equal(
        pd.read_csv(lab.out / "leaderboard.csv"), pd.DataFrame(rows), check_exact=False
    )
    checks = pd.read_csv(lab.out / "checks.csv")
    assert list(checks) == ["checkpoint", "domain", "of", "with", "spearman"] and len(checks) == 3 * 2 * len(
        laboratory.CHECKS
    )
    assert checks.spearman.between(-1, 1).all() and checks.spearman.abs().max() > 0.5
    each = pd.read_csv(lab.out / "checkpoints.csv")
    assert list(each.domain) == 3 * ["source", "target"] and (each["cos class and oracle"] == 0.25).all()
    assert (each.saliency_zero <= each.saliency_flat).all() and each.saliency_flat.between(0, 1).all()


def test_what_was_examined_is_in_files_of_one_checkpoint_each(lab, run, other_seed):
    files = [(run, "stage=1,step=40"), (run, "stage=2,step=6"), (other_seed, "stage=1,step=40")]
    found = [lab.out / "examined" / f"{w.parent.name}_{w.name},{step}.npz" for w, step in files]
    assert set((lab.out / "examined").iterdir()) == set(found)
    table = pd.read_csv(lab.out / "checks.csv")
    for path, e in zip(found, lab.analysis.examined, strict=True):
        with np.load(path, allow_pickle=False) as saved:
            np.testing.assert_array_equal(saved["scores/skewness"], e.scores["skewness"])
            np.testing.assert_array_equal(saved["measures/gain"], e.measures["gain"])
            pair = [saved[f"measured checks/{n}"][1] for n in ("dot_o, coupled", "dot_o, running")]
        own = table[(table.checkpoint == e.name) & (table.domain == "target")].set_index("with").spearman
        assert own["dot_o, running"] == pytest.approx(scipy.stats.spearmanr(*pair).statistic, abs=1e-9)


def test_figures_and_report_are_drawn(lab):
    names = {p.name for p in (lab.out / "figures").iterdir()}
    assert {n.split("_stage")[0] for n in names if n.startswith("fig1")} and "fig5.svg" in names
    assert {n.rsplit(".", 1)[1] for n in names} == {"svg", "png", "csv"}
    text = lab.analysis.report.read_text(encoding="utf-8")
    assert lab.analysis.report == lab.out / "report.html"
    assert GROUP in text and "selection.keep_ratio = 0.7" in text and "samples = 16" in text
    assert sorted(p.name for p in lab.out.iterdir()) == [
        "checkpoints.csv", "checks.csv", "examined", "figures", "leaderboard.csv", "report.html",
    ]  # fmt: skip


def test_without_a_terminal_progress_is_a_line_a_minute():
    said, clock = [], iter([0.0, 59.0, 60.0, 60.0, 119.0])
    with laboratory._progress(4, "mini-batch", said.append, lambda: next(clock)) as tick:
        for piece in ("class", "norms", "norms"):
            tick(piece)
    assert said == ["  50 %: norms"]


def test_progress_verdicts_and_places_are_said(lab, run):
    said = "\n".join(lab.said)
    samples = "16 + 16 samples in mini-batches of 8, mean gradients of 32 other clouds per domain"
    assert f"[1/3] {run}, stage 1, step 40: {samples}" in said
    assert f"{GROUP}, stage 1, step 40, 16 samples a domain, 2 seeds:" in said
    assert "dot_o: no interval, for it takes 5 mini-batches: give more samples, 40 at least." in said
    assert lab.said[-1].startswith(f"Written: {lab.out / 'report.html'}")


def reach(sample):
    return jnp.max(jnp.abs(sample.points))


def test_another_statistic_takes_the_gradients_from_the_folder(lab, out, other_seed, calls):
    found = quiet([other_seed], out, {"mine": reach})
    own = {r["statistic"] for r in found.leaderboard}
    assert calls == [] and own == {"mine", "reference: cos_c", "oracle: cos_o"}
    for name in MEASURES:
        np.testing.assert_array_equal(
            lab.analysis.examined[2].measures[name], found.examined[0].measures[name]
        )


def test_ones_own_statistics_come_first_in_tables_and_on_the_console(out, other_seed, calls, monkeypatch):
    (out.parent / "my_part.py").write_text("def size(sample):\n    return sample.saliency.max()\n")
    monkeypatch.syspath_prepend(out.parent)
    said, own = [], ["my_part:size", "reach"]
    given = {**ROWS, "reach": reach}
    found = quiet([other_seed], out, given, beside=own[:1], say=said.append)
    assert list(dict.fromkeys(r["statistic"] for r in found.leaderboard))[:4] == [*own, "skewness", "gini"]
    table = [line.split("|") for line in "\n".join(said).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line[1:4]] for line in table[2:]]
    begins = [i for i, (domain, *_) in enumerate(cells) if domain]
    assert [cells[i][:2] for i in begins] == [[d, m] for d in DOMAINS[:2] for m in ("gain", "dot_o")]
    assert all([name for *_, name in cells[i : i + 3]] == [*own, "skewness"] for i in begins)
    text = found.report.read_text(encoding="utf-8")
    assert text.count('<tr class="own">') == 8 and '"own":["my_part:size","reach"]' in text


def test_other_samples_or_another_network_in_the_folder_are_measured(out, other_seed, calls, monkeypatch):
    quiet([other_seed], out, settings=SETTINGS._replace(seed=1))
    assert len(calls) == 1
    whole = laboratory.open_subject

    def retrained(*args):
        subject = whole(*args)
        variables = jax.tree.map(lambda leaf: leaf + 1e-3, subject.state.variables)
        return subject._replace(state=subject.state.replace(variables=variables))

    monkeypatch.setattr(laboratory, "open_subject", retrained)
    quiet([other_seed], out, settings=SETTINGS._replace(seed=1))
    assert len(calls) == 2


def test_a_run_that_is_given_twice_counts_once(out, other_seed, calls):
    found = quiet([other_seed, other_seed / ".." / other_seed.name], out)
    assert len(found.examined) == 1 and {r["seeds"] for r in found.leaderboard} == {1}


def raises(sample):
    raise KeyError("no\nsuch thing")


@pytest.mark.parametrize(
    "statistic, message",
    [
        (raises, "The statistic raises raises KeyError: 'no"),
        (
            lambda s: jnp.log(-jnp.abs(s.loss) - 1),
            "returns NaN for 16 of 16 samples of .*, stage 1, step 40, source",
        ),
        (lambda s: s.saliency, r"returns float32\[32\] for one sample; return one float"),
    ],
    ids=["raises", "NaN", "shape"],
)
def test_a_failing_statistic_is_told_in_one_line_and_what_was_measured_stays(
    out, other_seed, calls, statistic, message
):
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=message) as told:
        quiet([other_seed], out, {"own": statistic})
    assert "\n" not in str(told.value) and calls == []
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


@exhaustive
def test_a_run_without_pretext_task_is_left_out_or_refused(source_only, other_seed, tmp_path, calls):
    with pytest.raises(
        ValueError, match="No checkpoint was trained with a pretext task: give a run with one"
    ):
        quiet([source_only], tmp_path / "none")
    said = []
    runs, given = [source_only, other_seed], {"statistics": {"loss": "loss"}, "settings": SETTINGS}
    found = analyze(runs, tmp_path / "both", **given, pictures=(), say=said.append)
    assert said[0] == f"{source_only}, stage 1: trained without a pretext task, left out."
    assert [(e.stage, e.seed) for e in found.examined] == [(1, 1)]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"pictures": ("fig1", "fig11l")}, "figure = 'fig11l' is not known. Did you mean 'fig1"),
        ({"statistics": {"skewnes": "skewnes"}}, "'skewnes' is not known. Did you mean 'skewness'"),
        ({"statistics": {"a": "absent_module:f"}}, "'absent_module:f' cannot be imported"),
    ],
)
def test_a_wrong_name_is_refused_before_any_work(run, tmp_path, calls, fields, message, monkeypatch):
    monkeypatch.setattr(laboratory, "find_checkpoints", lambda *_: pytest.fail("has begun"))
    with pytest.raises(ValueError, match=message) as told:
        quiet([run], tmp_path / "out", **fields)
    assert "\n" not in str(told.value) and not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(other_seed, tmp_path, calls):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match="out"):
        quiet([other_seed], tmp_path / "out")
    assert calls == []


def test_tables_and_arrays_are_there_when_the_report_fails(other_seed, tmp_path, calls, monkeypatch):
    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(laboratory, "write_report", fail)
    with pytest.raises(OSError, match="no space"):
        quiet([other_seed], tmp_path)
    assert len(pd.read_csv(tmp_path / "leaderboard.csv")) == 3 * 3 * len(MEASURES)
    assert (tmp_path / "checks.csv").exists() and len(list((tmp_path / "examined").glob("*.npz"))) == 1


def test_a_figure_without_its_data_is_left_out_and_the_rest_is_written(other_seed, out, calls):
    said = []
    found = analyze([other_seed], out, statistics={"loss": "loss"}, settings=SETTINGS, say=said.append)
    assert any(line.startswith("Figure fig1 is left out: ") for line in said)
    assert found.report.exists()


def test_code_that_a_checkpoint_names_is_refused_before_anything_is_measured(tmp_path, calls):
    plain = save_untrained(tmp_path / "plain")
    foreign = save_untrained(tmp_path / "foreign", encoder="subprocess:getoutput", pretext="os:system")
    with pytest.raises(ValueError, match=r"foreign: its conf.*'subprocess:getoutput', .*--allow os:system"):
        quiet([plain, foreign], tmp_path / "out", allow=("os:getcwd",))
    assert calls == [] and not (tmp_path / "out").exists()


def test_a_statistic_that_is_given_is_allowed_and_a_part_by_name(tmp_path, calls, monkeypatch):
    (tmp_path / "my_part.py").write_text("def size(sample):\n    return sample.saliency.max()\n")
    monkeypatch.syspath_prepend(tmp_path)
    workdir = save_untrained(tmp_path / "run", selection="my_part:size")
    analysis = quiet([workdir], tmp_path / "a", {"mine": "my_part:size"})
    assert analysis.examined[0].statistic == "my_part:size" and len(calls) == 1
    assert len(quiet([workdir], tmp_path / "b", allow=("my_part:size",)).examined) == 1
    with pytest.raises(ValueError, match="--allow my_part:size"):
        quiet([workdir], tmp_path / "c")


@exhaustive
def test_a_run_on_labels_of_points(segmented_run, tmp_path, calls):
    said = []
    found = quiet([segmented_run], tmp_path, None, beside=["random"], say=said.append)
    assert any(
        "margin, prediction_entropy, el2n, grand need one label per cloud, left out" in s for s in said
    )
    last = found.examined[-1]
    assert last.classes == ("all",) and not last.label.any() and last.stage == 2
    assert "skewness" in last.scores and "margin" not in last.scores
    of_target = last.domain == "target"
    true = last.domain == "target, true labels"
    assert not np.allclose(last.scores["loss"][of_target], last.scores["loss"][true])
    with pytest.raises(ValueError, match="The statistic margin is of clouds that have one label each"):
        quiet([segmented_run], tmp_path, {"margin": "margin"})
