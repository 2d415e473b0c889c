"""Which sizes are tried, and what is said of them."""

import pytest

from benchmarks import sweep as module
from benchmarks.contenders import CONTENDERS, Setting, config_of
from benchmarks.ratios import spread
from benchmarks.sweep import AXES, axes_lines, chosen_axes, sweep, sweep_picture, sweep_table, too_large

GIB = 2**30


def measured(*peaks, free=16):
    """At 8, 16, … clouds."""
    return [
        {"size": 8 * 2**i, "peak_bytes": peak * GIB, "free_bytes": free * GIB} for i, peak in enumerate(peaks)
    ]


def test_memory_is_expected_to_grow_as_it_grew():
    assert too_large([], 8) == "" and too_large(measured(7), 16) == "" and too_large(measured(1, 3), 32) == ""
    assert "about 16 of 16 GiB" in too_large(measured(8), 16)
    assert "about 27 of 16 GiB" in too_large(measured(3, 9), 32)
    assert "about 27 of 16 GiB" in too_large(measured(1, 3), 64)  # two doublings
    assert "about 24 of 16 GiB" in too_large(measured(11, 12), 32)  # in proportion at least
    assert too_large([{"size": 8, "failed": "no"}], 16) == "a smaller size did not run (no)"
    assert too_large([{"skipped": "would take 9"}], 16) == "a smaller size would take 9"
    assert too_large([{"skipped": "a smaller size would take 9"}], 16) == "a smaller size would take 9"


@pytest.fixture
def as_points_grow(monkeypatch):
    """Settings that were measured; a GiB for every 1,024 points of a batch, and seconds as their square."""
    settings = []

    def measure_alone(name, setting, steps, cache):
        settings.append(setting)
        amount = setting.batch * setting.points / 1024 * setting.width
        return {
            "precision": "float32", "free_bytes": 64 * GIB, "peak_bytes": amount * GIB,
            "alone": spread([amount**2]),
        }  # fmt: skip

    monkeypatch.setattr(module, "measure_alone", measure_alone)
    return settings


def test_every_size_is_measured_or_told_why_not(as_points_grow):
    records = sweep(Setting(), ["jax mask shared"], 1, {k: AXES[k] for k in ("batch", "points")})
    assert [(r["axis"], r["size"]) for r in records] == [
        *(("batch", size) for size in (8, 16, 32, 64)),
        *(("points", size) for size in (512, 1024, 2048, 4096, 8192, 16384)),
    ]
    assert [bool(r.get("skipped")) for r in records] == [*[False] * 3, True, *[False] * 4, True, True]
    assert {(s.batch, s.points) for s in as_points_grow[3:]} == {(8, n) for n in (512, 1024, 2048, 4096)}


def test_every_axis_changes_one_thing():
    of = {name: [axis.at(Setting(), size) for size in axis.sizes] for name, axis in AXES.items()}
    assert [s.k for s in of["k"]] == [5, 10, 20, 40]
    assert [s.width for s in of["width"]] == [0.25, 0.5, 1, 2]
    assert [(s.points, s.batch, s.inference) for s in of["inference"]][-1] == (100_000, 1, True)
    assert all(s._replace(k=0, width=1.0) == Setting() for name in ("k", "width") for s in of[name])
    for setting in (setting for settings in of.values() for setting in settings):
        config_of(setting, CONTENDERS["jax mask shared"])  # refuses what no step could be made of


def test_table_and_picture_tell_how_time_and_memory_grow(as_points_grow):
    records = sweep(Setting(), ["torch eager"], 1, {k: AXES[k] for k in ("batch", "width")})
    rows = [line.split(" | ") for line in sweep_table(records).splitlines()[2:]]
    cells = [[cell.strip("| ") for cell in row] for row in rows]
    assert cells[0] == ["batch", "8", "torch eager", "64.0", "64.0 to 64.0", "-", "8.00", "-"]
    assert cells[2] == ["batch", "32", "torch eager", "1024", "1024 to 1024", "2.0", "32.00", "1.0"]
    assert cells[3] == ["batch", "64", "torch eager", "would take about 64 of 64 GiB", *"----"]
    assert cells[4][:3] == ["width", "0.25", "torch eager"]
    assert "- width: step, times the published width." in axes_lines(records)
    titles = [axes.get_title(loc="left") for axes in sweep_picture(records).axes]
    assert titles == [
        "batch: seconds",
        "width: seconds",
        "batch: peak memory, GiB",
        "width: peak memory, GiB",
    ]


def test_the_picture_has_the_axes_along_which_something_ran(as_points_grow):
    failed = {"axis": "inference", "size": 1024, "contender": "torch eager", "failed": "no"}
    records = [failed, *sweep(Setting(), ["torch eager"], 1, {"batch": AXES["batch"]})]
    figure = sweep_picture(records)
    figure.draw_without_rendering()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["batch: seconds", "batch: peak memory, GiB"]
    sweep_picture([failed]).draw_without_rendering()  # nothing ran: empty, and no error


def test_axes_are_known_and_k_needs_neighbors():
    assert list(chosen_axes(["k", "batch"], "dgcnn")) == ["k", "batch"]
    with pytest.raises(ValueError, match="--sweep = 'point'.*Did you mean 'points'"):
        chosen_axes(["point"], "dgcnn")
    with pytest.raises(ValueError, match="--encoder=pointnet searches no neighbors"):
        chosen_axes(["k"], "pointnet")


def test_different_precisions_are_refused(monkeypatch):
    def measure_alone(name, setting, steps, cache):
        return {"precision": name, "free_bytes": 9, "peak_bytes": 1, "alone": {"median": 1}}

    monkeypatch.setattr(module, "measure_alone", measure_alone)
    with pytest.raises(ValueError, match="differ in precision"):
        sweep(Setting(), ["a", "b"], 1, {"k": AXES["k"]})
