import shutil

import numpy as np

from smdsb_jax import load, resolve
from smdsb_jax.build import load_domain, load_domains, load_target
from smdsb_jax.report.summary import judge
from smdsb_jax.sweep.grid import Grid, Run, set_field
from smdsb_jax.sweep.plan import Planned
from smdsb_jax.sweep.published import Published
from smdsb_jax.sweep.ranking import found_in
from smdsb_jax.sweep.reverse import REVERSE, reverse_grid, reversed_runs
from tests.tiny_run import tiny_config


def test_the_second_run_learns_what_the_first_says_of_the_target(tiny_run, tmp_path):
    workdir = shutil.copytree(tiny_run, tmp_path / "run, with a comma")
    config = resolve(tiny_config())
    of = Run("a", "c2s", 0, "file.py", "c2s", ("seed=0", "data.source=other"), workdir)
    waiting = of._replace(workdir=tmp_path / "new")
    (second,) = reversed_runs([Planned(of, config, "done"), Planned(waiting, config, "new")])
    assert second.workdir == workdir / REVERSE and (second.row, second.direction) == ("a", "c2s")
    back = tiny_config()
    for field in second.fields:
        set_field(back, field)
    assert (back.data.source, back.data.target) == (config.data.target, config.data.source)
    source, target = load_domains(resolve(back))
    model = load(workdir)
    first = load_target(model.config, model.classes)
    for split in ("train", "val", "test"):
        known = getattr(first, split)
        np.testing.assert_array_equal(getattr(source, split).label, judge(model, known).prediction)
        np.testing.assert_array_equal(getattr(source, split).points, known.points)
    assert (source.train.label != first.train.label).any()
    np.testing.assert_array_equal(target.test.label, load_domain(config, "source").test.label)
    assert np.isnan(found_in(workdir, "last", REVERSE).value)  # until it is trained
    shutil.copytree(tiny_run, second.workdir)  # as if it were this one
    found = found_in(workdir, "last", REVERSE)
    assert 100 * found.value == found.score


def test_its_table_is_named_so_and_has_no_printed_values():
    grid = Grid(
        "Hosts", "a.py", {"a": []}, ("c2s",), published={"a": Published({}, 1.0)}, contrasts={"x": []}
    )
    found = reverse_grid(grid)
    assert found.title == "Reverse validation of Hosts" and not found.published and not found.contrasts
