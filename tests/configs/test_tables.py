import itertools

import pytest
from smdsb_jax.configs.methods import METHODS
from smdsb_jax.configs.tables import TABLES, get_grid

from smdsb_jax.combine import COMBINE
from smdsb_jax.config import flatten, resolve
from smdsb_jax.configs import embedded
from smdsb_jax.sweep.grid import grid_runs, run_config
from smdsb_jax.sweep.plan import make_plan
from tests.sweep.tiny_sweep import ROOT
from tests.tiers import cases

SMALL = ("c2b", "c2s")
TWELVE = tuple(f"{a}2{b}" for a, b in itertools.permutations("afms", 2))
SIX = ("m2s", "m2r", "s2m", "s2r", "r2m", "r2s")


def configs(argument, tmp_path):
    """row → configuration in the first direction, of the first seed."""
    grid = get_grid(argument)._replace(seeds=1)
    runs = grid_runs(grid, tmp_path, ROOT)
    return {run.row: run_config(run) for run in reversed(runs) if run.direction == grid.directions[0]}


EVERY = [(name, data) for name in TABLES for data in ("pointda", "embedded", "folder")]
POSSIBLE = [of for of in EVERY if of != ("table2", "folder") and of[0] != "first_run"]
EVERYDAY = [("table1", "pointda"), ("table2", "pointda"), ("methods", "embedded"), ("decide", "folder")]


@pytest.mark.parametrize("of", cases(POSSIBLE, *EVERYDAY))
def test_every_run_of_every_table_is_possible(of, tmp_path):
    name, data = of
    grid = get_grid(f"{name},data={data}")
    plan = make_plan(grid_runs(grid._replace(seeds=1), tmp_path, ROOT))
    assert len(plan) == len(grid.rows) * len(grid.directions)
    of_table = {"table2": {"pointda": "pointsegda", "embedded": "bodies"}}.get(name, {data: data})[data]
    assert {p.config.data.name for p in plan} == {of_table}
    directions = {"pointda": SIX, "embedded": SMALL, "bodies": ("m2s", "s2m"), "pointsegda": TWELVE}
    directions["folder"] = ("clean2scanned",)
    assert set(grid.directions) == set(directions[of_table]) and grid.seeds == 3
    if data != "pointda":
        assert not grid.published
        assert {p.config.stage1.steps for p in plan} == {{"embedded": 100, "folder": 1500}[data]}


def test_table1_at_the_published_protocol(tmp_path):
    found = configs("table1", tmp_path)
    assert [(c.pretext.name, c.selection.statistic, c.encoder.name) for c in reversed(found.values())] == [
        ("none", "none", "dgcnn"),
        ("pointdan", "none", "dgcnn"),
        ("implicit", "none", "dgcnn"),
        ("defrec", "none", "dgcnn"),
        ("dfan", "none", "dgcnn"),
        ("mlsp", "none", "dgcnn"),
        ("gast", "none", "pointnet"),
        ("gast", "skewness", "pointnet"),
        ("self_distillation", "none", "dgcnn"),
        ("self_distillation", "skewness", "dgcnn"),
        ("none", "none", "dgcnn"),
        ("defrec", "none", "pointnet"),
        ("defrec", "skewness", "pointnet"),
    ]
    oracle = found["oracle (trained with target labels)"]
    assert oracle.data.source == oracle.data.target == "shapenet"
    assert found["DefRec+PCM, quoted"].classification.mixup == "pcm" and found["GAST"].stage1.steps == 10_000
    grid = get_grid("table1")
    assert set(grid.rows) - set(grid.published) == {"oracle (trained with target labels)"}
    assert set(grid.published) <= set(grid.rows)  # every row of the paper
    assert sum("quoted" in name for name in grid.rows) == 5
    assert get_grid("table1").published["DefRec+PCM+SM-DSB, PointNet"].values == {"m2r": 49.2}


def test_every_method_stands_with_and_without_the_selection(tmp_path):
    found = configs("methods,data=embedded", tmp_path)
    assert set(METHODS) - {"oracle"} == {name for name in found if name in METHODS}
    hosts = set(METHODS) - {"oracle", "source_only"}
    assert {name.removesuffix(" + SM-DSB") for name in found if name.endswith(" + SM-DSB")} == hosts
    for name in hosts:
        assert found[name].selection.statistic == "none"
        assert found[f"{name} + SM-DSB"].selection.statistic == "skewness"
    contrasts = get_grid("methods").contrasts
    assert len(contrasts["all: SM-DSB minus none"]) == len(hosts) == len(contrasts) - 1


def test_table2_is_stage_1_of_points_beside_the_printed_values(tmp_path):
    grid = get_grid("table2")
    assert set(grid.published) == {"Oracle", "Without adaptation", "DefRec", "DefRec+SM-DSB"} < set(grid.rows)
    assert set(grid.published["DefRec"].values) == set(grid.directions) and grid.measure == "mIoU"
    found = configs("table2", tmp_path)
    assert {(c.task.name, tuple(c.stages)) for c in found.values()} == {("segmentation", (1,))}
    chosen = {row: (c.pretext.name, c.pretext.on_source, c.selection.statistic) for row, c in found.items()}
    assert chosen["DefRec"] == ("defrec_radius", True, "none")
    assert chosen["DefRec+SM-DSB"] == ("defrec_radius", True, "skewness")
    assert chosen["MLSP"] == ("mlsp", False, "none") and chosen["MLSP+SM-DSB"] == ("mlsp", True, "skewness")
    assert any("+4, +4.5 and +4.8" in name for name in grid.contrasts)


def test_table3_is_stage_1_alone_with_the_papers_values_for_pointnet(tmp_path):
    found = configs("table3", tmp_path)
    assert set(found) == set(get_grid("table3").published)
    assert {tuple(c.stages) for c in found.values()} == {(1,)}
    own = found.pop("Self-dist GCN+SM-DSB, PointNet")
    assert (own.selection.keep_ratio, own.stage1.steps, own.encoder.name) == (0.8, 20_000, "pointnet")
    assert found["Self-dist GCN, PointNet"].stage1.steps == 10_000
    assert {c.selection.keep_ratio for c in found.values()} == {0.7}
    assert configs("table3,data=embedded", tmp_path)["Self-dist GCN+SM-DSB, PointNet"].stage1.steps == 100


@pytest.mark.parametrize(
    "name, method", [("DefRec", "defrec"), ("GAST", "gast"), ("Self-dist GCN", "self_distillation")]
)
def test_each_host_is_set_against_a_smaller_weight_and_other_selections(name, method, tmp_path):
    assert method in METHODS
    found = configs("hosts,data=embedded", tmp_path)
    weight = embedded.get_config(f"c2b,method={method},budget=study").pretext.weight
    ways = [(c.selection.statistic, c.selection.side) for row, c in found.items() if row.startswith(name)]
    assert ways[::-1] == [
        ("none", ""), ("none", ""), ("random", found[f"{name}, random"].selection.side),
        ("skewness", "low"), ("skewness", "high"),
    ]  # fmt: skip
    assert found[f"{name}, smaller weight"].pretext.weight == pytest.approx(0.7 * weight)
    others = {c.pretext.weight for row, c in found.items() if row.startswith(name) and "smaller" not in row}
    assert others == {weight}


def test_every_rule_stands_with_and_without_the_selection_in_stage_1(tmp_path):
    found = configs("rules", tmp_path)
    assert [name for name in reversed(found) if "SM-DSB" not in name] == list(COMBINE)
    for row, config in found.items():
        rule, _, selected = row.partition(" + ")
        assert (config.combine.name, config.pretext.name, tuple(config.stages)) == (rule, "defrec", (1,))
        assert config.selection.statistic == ("skewness" if selected else "none")
    contrasts = get_grid("rules,data=pointda").contrasts
    assert contrasts["dwa minus sum"] == [("dwa", "sum")]
    assert contrasts["dwa + SM-DSB minus sum + SM-DSB"] == [("dwa + SM-DSB", "sum + SM-DSB")]
    assert len(contrasts) == 2 * (len(COMBINE) - 1) + 1


def test_the_ways_of_selecting_vary_execution_scope_and_saliency_alone(tmp_path):
    found = configs("selection", tmp_path)
    base = found["mask, pooled, per_sample"]
    for row, config in found.items():
        assert f"{config.selection.execution}, {config.selection.scope}, {config.saliency.mode}" == row
        config.selection.update({"execution": "mask", "scope": "pooled"})
        config.saliency.mode = "per_sample"
        assert config == base
    assert len(found) == 5


def test_the_small_tables_share_their_runs(tmp_path):
    folders = {
        name: {run.workdir for run in grid_runs(get_grid(name), tmp_path, ROOT)}
        for name in ("hosts,data=embedded", "selection", "agreement")
    }
    hosts, selection, agreement = folders.values()
    assert agreement == hosts & selection and len(agreement) == 6


def test_the_bounds_stand_above_the_hosts_and_every_contrast_is_of_rows_that_are_there(tmp_path):
    found = configs("hosts,data=embedded", tmp_path)
    bounds = [found["source_only"], found["oracle (trained with target labels)"]]
    assert [(c.pretext.name, c.data.source == c.data.target) for c in bounds] == [
        ("none", False),
        ("none", True),
    ]
    contrasts = get_grid("hosts,data=embedded").contrasts
    assert len(contrasts) == 16
    assert {row for pairs in contrasts.values() for pair in pairs for row in pair} <= set(found)


def test_the_arms_of_the_decision_differ_in_what_takes_part_alone(tmp_path):
    found = configs("decide", tmp_path)
    ours = ("selection.", "pretext.", "seed")
    for host in ("DefRec", "Self-dist GCN"):
        of_host = [flatten(c) for name, c in found.items() if name.startswith(host)]
        rest = [{k: v for k, v in c.items() if not k.startswith(ours)} for c in of_host]
        assert len(rest) == {"DefRec": 11, "Self-dist GCN": 4}[host] and all(r == rest[0] for r in rest)
    weights = [found[f"DefRec{name}"].pretext.weight for name in ("", ", smaller weight", ", half weight")]
    assert weights == pytest.approx([0.2, 0.14, 0.1])
    reads = [name for name, c in found.items() if c.selection.bound.startswith("oracle")]
    assert sorted(reads) == [
        "DefRec, oracle dot_o",
        "DefRec, oracle gain",
    ]  # and what trains on the target's labels says so too
    labelled = [name for name, c in found.items() if c.data.source == c.data.target]
    assert labelled == ["oracle (trained with target labels)"]
    contrasts = get_grid("decide").contrasts
    assert {row for pairs in contrasts.values() for pair in pairs for row in pair} <= set(found)


def test_the_first_run_and_its_bounds_differ_in_the_adaptation_alone(tmp_path):
    grid = get_grid("first_run")
    assert (grid.directions, grid.seeds) == (("s2c", "s2b"), 5)
    found = configs("first_run", tmp_path)
    run, bounds = found["this run"], [found["source_only"], found["oracle (trained with target labels)"]]
    trained = flatten(resolve(embedded.get_config()))  # by `make train`, which records more often
    assert flatten(run) == trained | {"log_every": run.log_every}
    steps = run.stage1.steps + run.stage2.steps
    of_adaptation = ("pretext.", "selection.", "stage", "classification.weight")
    for bound in bounds:
        assert (bound.stages, bound.stage1.steps, bound.pretext.name) == ((1,), steps, "none")
        differs = [name for name, value in flatten(bound).items() if flatten(run).get(name) != value]
        assert all(name.startswith((*of_adaptation, "data.source")) for name in differs), differs
    assert {row for pairs in grid.contrasts.values() for pair in pairs for row in pair} <= set(found)
    with pytest.raises(ValueError, match="table option data"):
        get_grid("first_run,data=pointda")


def test_an_unknown_table_or_option_names_the_known():
    with pytest.raises(ValueError, match="Did you mean 'table1'"):
        get_grid("tabel1")
    with pytest.raises(ValueError, match="Known: embedded, folder, pointda"):
        get_grid("table1,data=modelnet")
    with pytest.raises(ValueError, match="Known: data, direction, table"):
        get_grid("table1,seeds=3")
