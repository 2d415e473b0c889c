import numpy as np
import pytest
import sklearn.metrics

from smdsb_jax.analysis.figures import FIGURES, Material
from smdsb_jax.analysis.figures.confusions import confusions
from smdsb_jax.analysis.outputs import open_run, outputs


def test_shares_are_scikit_learns_and_bars_their_differences(run, other_seed):
    (drawn,) = confusions(Material([run, other_seed])).values()
    table = {}
    for workdir in (run, other_seed):
        opened = open_run(workdir)
        found = outputs(opened, opened.target.test, "")
        classes = range(len(opened.model.classes))
        given = found.label, found.logits.argmax(-1)
        share = sklearn.metrics.confusion_matrix(*given, labels=classes, normalize="true").diagonal()
        table[opened.name] = share
        rows = [row for row in drawn.table if row["run"] == opened.name]
        np.testing.assert_allclose([row["right"] for row in rows], share)
        gains = share - table[next(iter(table))]
        np.testing.assert_allclose([row["gain"] for row in rows], gains)
        assert [row["samples"] for row in rows] == np.bincount(found.label, minlength=len(classes)).tolist()
        assert any(
            f"{opened.name}: mean class accuracy {100 * share.mean():.1f} %." == n for n in drawn.notes
        )
    first, second = table.values()
    bars = [bar.get_height() for bar in drawn.figure.subfigs[1].axes[0].patches]
    np.testing.assert_allclose(bars, 100 * (second - first))
    assert len(drawn.figure.subfigs[0].axes) == 2


def test_one_run_is_not_compared(run):
    with pytest.raises(ValueError, match="compares 2 to 4 runs, .* not 1: give --workdir for each"):
        FIGURES["fig3"].draw(Material([run]))
