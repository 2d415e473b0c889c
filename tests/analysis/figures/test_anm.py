import numpy as np
import pytest

from smdsb_jax.analysis.causal import fit_scores, gp_fixed, permutation_p, raw
from smdsb_jax.analysis.examined import SOURCE
from smdsb_jax.analysis.figures import FIGURES, Material
from smdsb_jax.analysis.figures.anm import WAYS, anm
from smdsb_jax.analysis.laboratory import BY_DEFAULT
from tests.analysis.synthetic_examined import examined

FEW = {"subsamples": 3, "permutations": 19, "calibration": 30}


def test_the_figure_shows_each_conflict_by_both_ways_beside_shuffled_pairs():
    e = examined()
    e.measures["cos_c"][0] = np.nan
    e = e._replace(measures={name: e.measures[name] for name in ("gain", "cos_c", "dot_o")})
    ((name, drawn),) = anm(Material([], [e]), **FEW).items()
    assert name == f"{e.group}, stage 1" and len(drawn.table) == 2 * 2 * 2
    assert {(r["way"], r["measure"]) for r in drawn.table} == {
        (w, m) for w in WAYS for m in ("cos_c", "gain")
    }
    upper, lower = drawn.figure.axes
    bars = [patch.get_height() for patch in upper.patches]
    rows = [row for row in drawn.table if row["way"] == next(iter(WAYS)) and row["pairs"] == "samples"]
    assert bars[0] == rows[0]["forward"] and bars[2] == rows[0]["backward"]
    assert len(bars) == len(lower.patches) == 2 * 4
    # of all the samples: which p-value belongs to which direction
    of = e.domain == SOURCE
    x, y = raw(e.scores["skewness"][of].astype(float)), raw(-e.measures["gain"][of])
    order = np.random.default_rng(0).permutation(len(x))
    expected = permutation_p(x[order], y[order], gp_fixed, permutations=19)
    assert rows[1]["p_forward"] == pytest.approx(expected)
    assert rows[1]["forward_5"] < fit_scores(x, y, gp_fixed, raw)[0] * 1.5


def test_the_notes_say_what_the_papers_scores_are_worth_and_what_ours_are():
    e = examined()
    e = e._replace(measures={"gain": e.measures["gain"]})
    first, second = anm(Material([], [e, e._replace(stage=2)]), **FEW).values()
    assert "0.16 (skewness → conflict) and 0.25 (conflict → skewness) both lie within" in first.notes[0]
    assert "difference of -0.09 compares with a mean of -0.1" in first.notes[0]
    assert len(first.notes) == 2 and second.notes[0].startswith("-gain, fitted length scale")
    assert "of 1 checkpoints" in second.notes[0]


def test_it_is_drawn_only_where_it_is_asked_for_and_of_enough_samples():
    assert "anm" not in BY_DEFAULT and FIGURES["anm"].examines
    with pytest.raises(ValueError, match="20 source samples"):
        anm(Material([], [examined(samples=19)]))
