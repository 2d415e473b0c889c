import pytest
from ml_collections import ConfigDict

from smdsb_jax.sweep.grid import (
    MOST_SEEDS,
    Grid,
    grid_runs,
    last_of_each,
    load_grid,
    rows_by_encoder,
    run_config,
    set_field,
)
from tests.processes import ROOT
from tests.sweep.tiny_sweep import tiny_grid, write_files
from tests.tiny_run import tiny_config


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path, [])


def test_a_run_per_row_direction_and_seed_with_the_seeds_outermost(folder):
    grid = tiny_grid(fields=("data.root=", "optimizer.learning_rate=0.5"), stages=(1,))
    runs = grid_runs(grid, folder / "runs", folder)
    assert [(r.seed, r.direction, r.row) for r in runs] == [
        (seed, direction, row)
        for seed in (0, 1)
        for direction in ("c2b", "c2s")
        for row in ("first", "second")
    ]
    config = run_config(runs[-1])
    assert (config.seed, config.optimizer.learning_rate, tuple(config.stages)) == (1, 0.5, (1,))
    assert len({run.workdir for run in runs}) == 8
    # what changes no result is not in the name
    assert runs[-1].workdir.name == "tiny,c2s,row=b,stages=(1,),optimizer.learning_rate=0.5,seed=1"


def test_a_field_is_read_as_its_type(folder):
    fields = (
        "selection.keep_ratio=1", "batch_is_total=false", "augment.scale=(0.7, 1.5)",
        "selection.side=low", "log_every=7", "batch_size=8",
    )  # fmt: skip
    config = run_config(grid_runs(tiny_grid(fields=fields), folder, folder)[0])
    expected = tiny_config(log_every=7, batch_size=8, batch_is_total=False)
    expected.selection.update({"keep_ratio": 1.0, "side": "low"})
    expected.augment.scale = (0.7, 1.5)
    assert config.to_dict() | {"selection": None} == expected.to_dict() | {"selection": None}
    assert config.selection.side == "low" and type(config.selection.keep_ratio) is float


@pytest.mark.parametrize(
    "row, message",
    [
        (["row=b", "selection.keep_ration=1"], "no selection.keep_ration. Did you mean 'keep_ratio'"),
        (["row=b", "selection.keep_ratio=high"], "selection.keep_ratio=high': give a float"),
        (["row=b", "log_every=1.5"], "log_every=1.5': give a int"),
        (["row=b", "log_every=true"], "give a int"),
        (["row=b", "selection=1"], "give FIELD=VALUE"),
        (["row=b", "selection.keep_ratio=2"], "config.selection.keep_ratio = 2.0: between"),
        (["rwo=b"], "'rwo' is not known. Did you mean 'row'"),
    ],
)
def test_a_wrong_row_is_named(folder, row, message):
    run = grid_runs(tiny_grid(rows={"second": row}), folder, folder)[0]
    with pytest.raises(ValueError, match="Row 'second', c2b") as error:
        run_config(run)
    assert message in str(error.value)


def test_rows_without_an_encoder_are_repeated_for_each():
    rows = {"a": ["row=a", "seed=1"], "b": ["row=b,encoder=own"]}
    assert rows_by_encoder(tiny_grid(rows=rows)) == {"a": ("row=a", "seed=1"), "b": ("row=b,encoder=own",)}
    assert rows_by_encoder(tiny_grid(rows=rows, encoders=("x", "y"))) == {
        "a, x": ("row=a,encoder=x", "seed=1"),
        "a, y": ("row=a,encoder=y", "seed=1"),
        "b": ("row=b,encoder=own",),
    }
    assert list(rows_by_encoder(tiny_grid(rows=rows, encoders=("x",)))) == ["a", "b"]


def test_of_one_field_the_last_value_counts():
    assert last_of_each(("a=1", "b=2", "a=3")) == ("a=3", "b=2")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rows": {}}, "needs rows"),
        ({"seeds": 0}, "needs rows"),
        ({"config": "configs/absent.py"}, "configs/absent.py: no such file"),
        ({"rows": {"first": ["row=a"], "again": ["row=a"]}}, "'first' and 'again' are the same run"),
    ],
)
def test_an_impossible_grid_is_refused(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        grid_runs(tiny_grid(**changes), folder, folder)


def test_tables_are_found_from_any_folder_and_others_are_refused(folder, monkeypatch):
    monkeypatch.chdir(folder / "configs")
    assert load_grid("table.py", folder).title == "Tiny"
    assert load_grid("table.py:log_every=3", folder).rows["second"] == ["row=b", "log_every=3"]
    with pytest.raises(ValueError, match="--table absent.py: no such file"):
        load_grid("absent.py:x", folder)
    with pytest.raises(ValueError, match="no function get_grid"):
        load_grid("tiny.py", folder)


@pytest.mark.parametrize("seeds", [0, MOST_SEEDS + 1, 10**18])
def test_a_number_of_seeds_that_no_one_runs_is_refused_at_once(seeds, tmp_path):
    grid = Grid("t", "configs/embedded.py", {"a": []}, ["c2s"], seeds=seeds)
    with pytest.raises(ValueError, match=r"1 to 1000 seeds \(--seeds\)"):
        grid_runs(grid, tmp_path, ROOT)


@pytest.mark.parametrize("text", ["-" * 20000 + "1", "(" * 2000, "{[]: 1}"])
def test_text_that_python_cannot_read_is_a_wrong_value(text):
    with pytest.raises(ValueError, match="give a int"):
        set_field(ConfigDict({"seed": 0}), f"seed={text}")


def test_a_seed_for_all_runs_is_refused_and_not_passed_over(tmp_path):
    grid = Grid("t", "configs/embedded.py", {"a": []}, ["c2s"], fields=("seed=7",))
    with pytest.raises(ValueError, match="field 'seed=7': a table's runs have the seeds 0, 1, …; give"):
        grid_runs(grid, tmp_path, ROOT)
