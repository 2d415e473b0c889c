"""docs/tutorial.md as its reader runs it: every block in its order, in a folder of its own."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from smdsb_jax.analysis.oracle import REFERENCES
from smdsb_jax.statistics import STATISTICS
from tests.processes import run
from tests.tiers import exhaustive

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


# a thinner network than its reader's
THIN = (
    "--config.data.points=32", "--config.data.subsample=uniform", "--config.encoder.layers=(8,8)",
    "--config.encoder.embedding=16", "--config.pretext.min_share=0.09375",
)  # fmt: skip


def run_command(block, folder):
    """`NAME=VALUE … python launch/NAME.py FLAGS`, as a shell reads it."""
    words = shlex.split(block.replace("\\\n", ""))
    at = words.index("python")
    env = dict(word.split("=", 1) for word in words[:at])
    thin = THIN if words[at + 1] == "launch/train.py" else ()
    done = run(folder / words[at + 1], *words[at + 2 :], *thin, cwd=folder, **env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """(folder, names of the Python session, what each command printed), when all blocks were run."""
    folder, names, printed = tmp_path_factory.mktemp("tutorial"), {}, []
    for name in ("launch", "configs"):
        (folder / name).symlink_to(ROOT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        for language, block in BLOCKS:
            if language == "bash":
                printed.append(run_command(block, folder))
            elif block.startswith("# my_statistics.py\n"):
                (folder / "my_statistics.py").write_text(block)
            elif language == "python":
                exec(compile(block, "docs/tutorial.md", "exec"), names)
        sys.modules.pop("my_statistics", None)
    return folder, names, printed


def test_every_block_says_whether_it_is_run():
    assert {language for language, _ in BLOCKS} == {"python", "bash", "sh"}
    assert [language for language, _ in BLOCKS].count("bash") == 3


@exhaustive
def test_the_statistic_is_the_least_share_of_points_with_half_of_the_saliency(followed):
    _, names, _ = followed
    scores = names["scores"]
    assert scores.shape == (430,) and 0 < scores.min() < scores.max() <= 1
    maps = np.random.default_rng(0).gamma(0.2, size=(5, 200))
    for saliency in maps:
        mass = np.sort(saliency)[::-1].cumsum() / saliency.sum()
        sample = type("Sample", (), {"saliency": saliency})
        assert names["half_mass"](sample) == pytest.approx((mass < 0.5).mean(), abs=0.006)


@exhaustive
def test_the_leaderboard_holds_all_that_the_text_names(followed):
    folder, names, printed = followed
    table, said = names["table"], printed[1]
    assert set(table.statistic) == {*STATISTICS, "my_statistics:half_mass", *REFERENCES}
    tables = TEXT.partition("**Measures.**")[2].partition("**Low or high?**")[0]
    first = [line.split("|")[1] for line in tables.splitlines() if line.startswith("| `")]
    named = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    measures = set(table.measure)
    assert measures <= named and named - measures <= set(table)
    assert set(table) - named == {"group", "stage", "step", "domain", "statistic"} | {
        c for c in table if c.endswith(("_low95", "_high95"))
    }
    assert {f"{name}_low95" for name in ("spearman", "kendall", "partial", "kept_low")} < set(table)
    # the interval of the measures of which mini-batches are drawn is there too
    own = table[(table.statistic == "my_statistics:half_mass") & (table.domain == "target")]
    assert len(own) == 8 and own.spearman_low95.notna().all() and (own.side == "low").all()
    assert table[table.statistic == "loss"].partial.isna().all()
    assert len(names["of_target"]) == len(STATISTICS) + 3
    assert "80 + 80 samples in mini-batches of 16" in said
    (heading,) = {line for line in said.splitlines() if line.startswith("| domain ")}
    shown = re.search(r"^\| domain .*$", TEXT, re.MULTILINE)[0]
    assert [cell.strip() for cell in shown.split("|")] == [cell.strip() for cell in heading.split("|")]
    assert re.search(r"^\| source \| gain +\| my_statistics:half_mass ", said, re.MULTILINE)
    pd.testing.assert_frame_equal(table, pd.read_csv(folder / "runs" / "laboratory" / "leaderboard.csv"))


@exhaustive
def test_the_command_and_the_session_have_the_same_gradients(followed):
    folder, names, _ = followed
    (examined,) = names["analysis"].examined
    (path,) = (folder / "runs" / "laboratory" / "examined").glob("*.npz")
    with np.load(path, allow_pickle=False) as saved:  # written by the command
        np.testing.assert_array_equal(saved["measures/dot_o"], examined.measures["dot_o"])
        np.testing.assert_allclose(
            saved["scores/my_statistics:half_mass"], examined.scores["half_mass"], atol=0.01
        )


@exhaustive
def test_the_three_definitions_are_in_the_checks(followed):
    checks = followed[1]["checks"]
    found = set(checks["of"]) | set(checks["with"])
    assert {f"dot_o, {name}" for name in ("coupled", "frozen_batch", "running")} < found
    assert all(f"`{name.removeprefix('dot_o, ')}`" in TEXT for name in found if name.startswith("dot_o"))


@exhaustive
def test_report_and_figures_are_where_the_text_says(followed):
    lab = followed[0] / "runs" / "laboratory"
    assert (lab / "report.html").stat().st_size > 10**6
    assert {p.suffix for p in (lab / "figures").iterdir()} == {".svg", ".png", ".csv"}


@exhaustive
def test_the_run_selected_by_the_statistic_and_its_high_side(followed):
    folder, _, printed = followed
    config = (folder / "runs" / "half_mass" / "config.json").read_text()
    assert (
        '"selection.statistic": "my_statistics:half_mass"' in config and '"selection.side": "high"' in config
    )
    assert "stage 1  step 40: accuracy" in printed[2]


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
