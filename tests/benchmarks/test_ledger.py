"""The ledger of a tiny step, and of made-up operations."""

import jax
import pytest

from benchmarks import ledger, run
from benchmarks.contenders import CONTENDERS, Setting
from benchmarks.ledger import Place, above_bound, groups, ledger_table, measure, place, place_and_kind
from benchmarks.run import Asked

TINY = {
    "encoder.embedding": 16, "encoder.layers": (8,), "encoder.k": 5, "pretext.min_share": 0.1,
}  # fmt: skip
NAME = "jax mask per_sample"


@pytest.fixture(scope="module")
def record():
    by_names = "jax_compilation_cache_include_metadata_in_key"
    before, kept = jax.config.values[by_names], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smdsb_jax.pages.keep_pages", kept.append)
        patch.setitem(CONTENDERS, NAME, CONTENDERS[NAME]._replace(fields=CONTENDERS[NAME].fields | TINY))
        jax.config.update(by_names, True)
        found = measure(Setting(batch=4, points=32), NAME, rounds=2, product=64, triad=1000)
    jax.config.update(by_names, before)
    return found | {"kept": kept}


def test_its_pages_stay_where_a_training_keeps_them(record):
    assert record["kept"] == [2**28]  # where four times what this tiny step needs is free


def test_every_pass_is_named_and_the_times_stay_within_the_step(record):
    found = {one["step"] for one in record["operations"]}
    # stage 1, DefRec; so small a combination is fused with what follows
    assert set(ledger.PASSES) - found <= {"class_target", "pretext_joint", "combine"}
    assert all(0 < share <= 1 for share in record["explained"])
    assert min(record["products_per_second"], record["bytes_per_second"]) > 1e6
    for step in ("class_source", "pretext_source"):  # the saliency's search is that of the first, done once
        layers = {(one["layer"], one["backward"]) for one in record["operations"] if one["step"] == step}
        assert {("DGCNN edge1", True), ("DGCNN edge1 knn_search", False)} <= layers


def test_products_of_a_pass_are_those_of_its_layers(record):
    of_pass = {
        step: sum(one["products"] for one in record["operations"] if one["step"] == step)
        for step in ("pretext_source", "pretext_target", "class_source")
    }
    assert of_pass["pretext_source"] == of_pass["pretext_target"]
    last = next(
        one for one in record["operations"]
        if one["layer"] == "DGCNN agg max_over_points" and one["products"] and one["step"] == "class_source"
    )  # fmt: skip
    assert last["products"] == 2 * 4 * 32 * 8 * 16  # batch, points, channels, embedding


@pytest.mark.parametrize(
    "op_name, where",
    [
        (
            "jit(train_step)/jvp(class_source)/jit(_apply_in_training)/DGCNN/edge3/vmap()/cond/branch_0_fun/"
            "knn_search/one_by_one/while/body/closed_call/sub",
            Place("class_source", "DGCNN edge3 knn_search", False),
        ),
        (
            "jit(train_step)/transpose(jvp(pretext_target))/jit(_apply_in_training)/PointwiseHead/transpose",
            Place("pretext_target", "PointwiseHead", True),
        ),
        (
            "jit(train_step)/saliency/vmap(jvp(DGCNN))/agg/transpose",
            Place("saliency", "DGCNN agg", False),
        ),
        (
            "jit(train_step)/augment/jit(_threefry_split)/init_network/while",
            Place("augment", "random numbers", False),
        ),
        ("jit(train_step)/optimizer/mul", Place("optimizer", "", False)),
        ("", Place("rest", "", False)),
    ],
)
def test_places(op_name, where):
    assert place(op_name) == where


def operation(seconds, bound, kind="products", step="class_source", layer="DGCNN edge1", backward=False):
    sums = {"runs": 2, "seconds": seconds, "products": 10, "others": 0, "bytes": 4, "bound": bound}
    return sums | {"name": "dot", "kind": kind, "step": step, "layer": layer, "backward": backward}


MADE = {
    "contender": NAME, "alone": [1.0, 1.0], "profiled": [2.0, 2.0], "explained": [0.8, 0.9], "pages": [7, 7],
    "products_per_second": 1e11, "bytes_per_second": 1e10,
    "operations": [
        operation(0.5, 0.25),
        operation(0.5, 0.25, step="saliency"),
        operation(0.4, 0.3, backward=True),
        operation(0.3, 0.0, kind="copies", step="optimizer", layer=""),
        operation(0.01, 0.0, kind="sorts"),
    ],
}  # fmt: skip


def test_groups_are_sums_over_the_passes():
    first, *others = groups(MADE["operations"], place_and_kind)
    assert first["group"] == "DGCNN edge1, products"  # of two passes
    assert (first["seconds"], first["bound"], first["products"], first["runs"]) == (1.0, 0.5, 20, 4)
    assert [g["group"] for g in others] == [
        "DGCNN edge1, products, backward", "optimizer, copies", "DGCNN edge1, sorts",
    ]  # fmt: skip
    assert [g["group"] for g in above_bound([first, *others])] == [
        "DGCNN edge1, products", "optimizer, copies", "DGCNN edge1, sorts",
    ]  # fmt: skip


def test_the_table_ends_with_what_there_is_to_be_won():
    lines = ledger_table(MADE).splitlines()
    rows = {line.split("|")[1].strip(): line for line in reversed(lines) if line.startswith("|")}
    assert "| 1000 | 50.0 " in rows["DGCNN edge1, products"] and "| 500 " in rows["DGCNN edge1, products"]
    assert "DGCNN edge1, sorts" not in rows and "| 10.0 " in rows["all below 1 %"]  # 0.5 % of the step
    assert "| 1410 | 70.5 " in rows["DGCNN edge1"] and "| 910 " in rows["class source"]
    assert lines[-6].startswith("Explained: 85.0 %") and "Sum of bounds: 0.800 s" in lines[-5]
    assert "takes 1.25 times as long" in lines[-5]
    assert lines[-2] == "1. DGCNN edge1, products: 500 ms, at 2.00 times its bound"
    assert lines[-1].startswith("2. optimizer, copies: 300 ms")


def test_the_table_says_where_nothing_is_to_be_won():
    within = [one | {"bound": one["seconds"]} for one in MADE["operations"]]
    assert ledger_table(MADE | {"operations": within}).splitlines()[-1] == (
        "Nothing of above 1 % takes more than 1.5 times its bound."
    )


def test_it_is_written_and_a_device_without_events_is_told_in_a_line(record, monkeypatch, tmp_path):
    asked = Asked(Setting(), [NAME], "", 2, tmp_path)
    monkeypatch.setattr(run, "run_module", lambda module, setting, given: record)
    said = run.run_ledger(asked)
    assert "Sum of bounds" in said and (tmp_path / "ledger.png").stat().st_size > 5000
    assert '"knn_search' not in (tmp_path / "ledger.md").read_text()
    nothing = record | {"operations": []}
    monkeypatch.setattr(run, "run_module", lambda module, setting, given: nothing)
    with pytest.raises(ValueError, match="--ledger --device=cpu: jax's profiler names no operation"):
        run.run_ledger(asked)
