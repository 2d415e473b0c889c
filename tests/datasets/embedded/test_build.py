import hashlib

import numpy as np
import pytest

from smdsb_jax.datasets.embedded import FOLDER, build, mesh
from tests.datasets.embedded.furniture import write_library


def row(domain, model="table"):
    return {"library": "Boxes", "model": f"lib/{model}/{model}.obj", "domain": domain}


@pytest.fixture
def library(tmp_path):
    return mesh.open_library(write_library(tmp_path), "Boxes")


@pytest.mark.parametrize("domain", ["catalog", "blend", "scan"])
def test_variants_differ_repeat_and_fill_the_unit_sphere(library, domain):
    clouds = build.variants(row(domain), library, 2)
    again = build.variants(row(domain), library, 1)
    np.testing.assert_array_equal(clouds[0], again[0])
    assert not np.array_equal(clouds[0], clouds[1])
    for cloud in clouds:
        assert cloud.dtype == np.float16 and cloud.shape == (1024, 3)
        wide = cloud.astype(np.float32)
        assert np.linalg.norm(wide, axis=1).max() == pytest.approx(1, abs=0.01)
        np.testing.assert_allclose(wide.mean(0), 0, atol=0.01)
        np.testing.assert_array_equal(wide * 256, np.round(wide * 256))
    assert not np.array_equal(clouds[0], build.variants(row(domain, "shelf"), library, 1)[0])


def test_tidy_only_reorders_and_rounds():
    points = np.random.default_rng(0).uniform(-1, 1, (300, 3))
    tidied = build.tidy(points).astype(np.float64)
    order = np.lexsort(np.round(points * 256).T)
    np.testing.assert_array_equal(tidied[np.lexsort((tidied * 256).T)], np.round(points * 256)[order] / 256)
    np.testing.assert_array_equal(tidied, np.round(points[build.curve_order(points)] * 256) / 256)
    # neighbors along the curve are near
    steps = np.linalg.norm(np.diff(tidied, axis=0), axis=1).mean()
    assert steps < 0.5 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()


def test_saved_bytes_repeat_and_hold_the_arrays(tmp_path):
    with np.load(FOLDER / "scan.npz", allow_pickle=False) as file:
        arrays = dict(file)
    digests = []
    for name in ("a.npz", "b.npz"):
        build.save(tmp_path / name, arrays)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert list(file) == list(arrays)
        for key in arrays:
            np.testing.assert_array_equal(file[key], arrays[key])


def test_every_object_has_a_cell_with_clouds_for_it():
    rows = build.object_rows()
    assert len({build.object_name(r) for r in rows}) == len(rows) == 235
    for split, classes in build.COUNTS.items():
        for class_name, clouds in classes.items():
            for domain in ("catalog", "blend", "scan"):
                cell = [
                    r for r in rows if (r["domain"], r["split"], r["class"]) == (domain, split, class_name)
                ]
                assert 1 <= len(cell) <= clouds


def test_a_domain_is_built_from_its_rows(tmp_path, monkeypatch):
    write_library(tmp_path)
    rows = [
        row("catalog", model) | {"class": c, "split": split}
        for c, model in (("shelf", "shelf"), ("table", "table"))
        for split in ("test", "val", "train")
    ]
    monkeypatch.setattr(
        build, "object_rows", lambda: [*rows, row("scan") | {"class": "lamp", "split": "val"}]
    )
    counts = {s: {"shelf": 1, "table": n} for n, s in ((3, "train"), (1, "val"), (2, "test"))}
    monkeypatch.setattr(build, "COUNTS", counts)
    build.main([str(tmp_path), str(tmp_path / "out"), "--domains", "catalog"])
    with np.load(tmp_path / "out" / "catalog.npz", allow_pickle=False) as file:
        assert file["classes"].tolist() == ["shelf", "table"]
        assert file["split"].tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2]
        assert file["label"].tolist() == [0, 1, 1, 1, 0, 1, 0, 1, 1]
        assert file["object"].tolist()[:2] == ["Boxes/shelf", "Boxes/table"]
        assert file["points"].shape == (9, 1024, 3)
