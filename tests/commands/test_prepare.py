import csv
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from smdsb_jax.commands import prepare
from smdsb_jax.datasets import folder, pointda, pointda_counts, pointsegda, pointsegda_counts
from tests.datasets import pointsegda_tree
from tests.datasets.pointda_tree import write_tree

SCRIPT = Path(__file__).parents[2] / "launch" / "prepare_data.py"


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "PointDA_data", objects_per_class=3)


@pytest.fixture
def main(monkeypatch, tmp_path):
    """The script's `main`, for a publication with the small tree's counts."""
    rows = [[d, s, 10 * n, *[n] * 10] for d in pointda.DOMAINS for s, n in (("train", 3), ("test", 1))]
    with (tmp_path / "counts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["domain", "split", "total", *pointda.CLASSES], *rows])
    monkeypatch.setattr(pointda_counts, "PUBLISHED", tmp_path / "counts.csv")
    return lambda *flags: prepare.main(["smdsb prepare", *map(str, flags)])


def test_a_complete_folder_is_prepared(tree, main, capsys):
    before = {d: pointda.load(str(tree), d, points=64) for d in pointda.DOMAINS}
    assert main("--data", tree) == 0
    said = capsys.readouterr().out
    assert "<--" not in said and said.endswith(
        "0 objects missing, 0 extra against the published PointDA-10.\n"
    )
    assert "modelnet: 40 x 2048 points" in said and "shapenet: 40 x 1024 points" in said
    for domain, expected in before.items():
        assert f"; {tree}/cache/{domain}.npz, " in said
        shutil.rmtree(tree / domain)  # only the cache is left
        for a, b in zip(pointda.load(str(tree), domain, points=64).splits, expected.splits, strict=True):
            np.testing.assert_array_equal(a.points, b.points)
            np.testing.assert_array_equal(a.label, b.label)


def test_another_folder_for_the_caches_and_verify_writes_nothing(tree, main, tmp_path, capsys):
    assert main("--data", tree, "--verify") == 0
    assert ".npz" not in capsys.readouterr().out and not (tree / "cache").exists()
    assert main("--data", tree, "--cache", tmp_path / "fast") == 0
    assert sorted(p.name for p in (tmp_path / "fast").iterdir()) == [
        f"{d}.npz" for d in sorted(pointda.DOMAINS)
    ]
    assert not (tree / "cache").exists()


def test_a_missing_and_an_extra_object_are_named(tree, main, capsys):
    (tree / "shapenet" / "lamp" / "test" / "lamp_0000.npy").unlink()
    bed = tree / "modelnet" / "bed" / "train"
    shutil.copy(bed / "bed_0000.npy", bed / "bed_0003.npy")
    assert main("--data", tree) == 1
    lines = capsys.readouterr().out.splitlines()
    marked = [line.split() for line in lines if line.endswith("<--")]
    assert marked == [
        ["bed", "3", "4", "0", "1", "<--"],
        ["total", "30", "31", "0", "1", "<--"],
        ["lamp", "1", "0", "1", "0", "<--"],
        ["total", "10", "9", "1", "0", "<--"],
    ]
    lamp = next(i for i, line in enumerate(lines) if line.split()[0] == "lamp" and line.endswith("<--"))
    heads = [line.split()[:2] for line in lines[:lamp] if "expected" in line]
    assert heads[-1] == ["shapenet", "test"]
    assert "1 objects missing, 1 extra" in lines[-1] and "No cache written; --allow-incomplete" in lines[-1]
    assert not (tree / "cache").exists()

    assert main("--data", tree, "--verify") == 1
    assert main("--data", tree, "--allow-incomplete") == 0
    assert len(pointda.load(str(tree), "modelnet", points=64).train.label) == 25


def test_one_domain_alone_is_prepared_if_allowed(tree, main, capsys):
    shutil.rmtree(tree / "modelnet")
    (tree / "scannet" / "train_0.h5").unlink()
    (tree / "scannet" / "train_files.txt").write_text("./train_1.h5\n")
    assert main("--data", tree, "--allow-incomplete") == 0
    assert sorted(p.name for p in (tree / "cache").iterdir()) == ["scannet.npz", "shapenet.npz"]
    assert "55 objects missing" in capsys.readouterr().out  # 40 and half of 30


@pytest.mark.parametrize("flags", [(), ("--verify",)])
def test_bad_files_of_all_domains_are_named(tree, main, capsys, flags):
    bad = tree / "modelnet" / "bed" / "test" / "bed_0000.npy", tree / "scannet" / "train_1.h5"
    bad[0].write_bytes(bad[0].read_bytes()[:400])
    with h5py.File(bad[1], "r+") as file:
        file["data"][3, 5, 1] = np.nan
    assert main("--data", tree, *flags) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[0].startswith(f"{bad[0]}: truncated or corrupt. ")
    assert said.err.splitlines()[1].startswith(f"{bad[1]}: object 3: 1 of 2048 points is NaN. ")
    assert said.out.splitlines()[-1].endswith("Not readable or not written: modelnet, scannet.")
    assert (tree / "cache" / "shapenet.npz").exists() != ("--verify" in flags)


def test_a_cache_folder_that_cannot_be_made_is_named(tree, main, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main("--data", tree, "--cache", tmp_path / "file" / "cache") == 1
    assert f"{tmp_path}/file" in capsys.readouterr().err


def test_the_command_runs_uninstalled_from_anywhere(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), "--data", "nowhere"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.splitlines()[-1].startswith("nowhere is missing. Expected nowhere/DOMAIN/{train")


@pytest.fixture
def bodies(tmp_path, monkeypatch):
    """All domains of PointSegDA, for a publication with the small tree's counts."""
    monkeypatch.setattr(pointsegda_counts, "PUBLISHED", dict.fromkeys(pointsegda.DOMAINS, (3, 1, 2)))
    monkeypatch.setattr(pointsegda_counts, "POINTS", 64)
    return pointsegda_tree.write_tree(tmp_path)


@pytest.mark.parametrize("flags", [(), ("--verify",)])
def test_pointsegda_is_counted_read_and_summed_up_and_nothing_is_written(bodies, main, capsys, flags):
    for root in (bodies, bodies.parent):
        before = sorted(bodies.parent.rglob("*"))
        assert main("--data", root, *flags) == 0
        said = capsys.readouterr()
        assert "<--" not in said.out and "other than" not in said.out and said.err == ""
        lines = said.out.splitlines()
        assert lines[-1].startswith(f"{root}: 0 objects missing, 0 extra against the published PointSegDA. ")
        assert lines[-1].endswith(". Nothing is written: a training reads the files.")
        assert "scape: reading 6 files" in lines
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[0] == "|"]
        assert cells[2] == ["head", *["12.5%"] * 12] and cells[10] == ["clouds", *["3", "1", "2"] * 4]
        assert sorted(bodies.parent.rglob("*")) == before


def test_what_deviates_from_pointsegda_is_said(bodies, main, capsys):
    train = bodies / "mit" / "train"
    (bodies / "faust" / "test" / "001.npy").unlink()
    shutil.copy(train / "000.npy", train / "003.npy")
    np.save(train / "001.npy", np.load(train / "001.npy")[:60])
    assert main("--data", bodies) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.endswith("<--")] == [
        ["test", "2", "1", "1", "0", "<--"],
        ["total", "6", "5", "1", "0", "<--"],
        ["train", "3", "4", "0", "1", "<--"],
        ["total", "6", "7", "0", "1", "<--"],
    ]
    assert f"mit: 1 of 7 shapes have other than 64 points (first: {train}/001.npy, 60)." in lines
    assert lines[-1].startswith(
        f"{bodies}: 1 objects missing, 1 extra against the published PointSegDA. Nothing"
    )
    assert main("--data", bodies, "--allow-incomplete") == 0


def test_bad_files_of_pointsegda_are_named_and_one_domain_alone_is_read(bodies, main, capsys):
    shutil.rmtree(bodies / "adobe")
    shape = np.load(bodies / "scape" / "val" / "000.npy")
    np.save(bodies / "scape" / "val" / "000.npy", shape[:, :3])
    assert main("--data", bodies, "--allow-incomplete") == 1
    said = capsys.readouterr()
    assert said.err.startswith(
        f"{bodies}/scape/val/000.npy: shape (64, 3), not (points, 4 or more columns); "
    )
    assert said.err.count("\n") == 1
    assert "6 objects missing, 0 extra" in said.out and " Not readable: scape. Nothing is written" in said.out
    np.save(bodies / "scape" / "val" / "000.npy", shape)
    assert main("--data", bodies, "--allow-incomplete") == 0


@pytest.fixture
def own(tmp_path):
    """Two domains: `cad` with classes, `scan` without."""
    rng = np.random.default_rng(0)
    names = [f"cad/{split}/{name}" for split in ("train", "test") for name in ("jug", "mug")]
    for place in (*names, "scan/train"):
        folder = tmp_path / "my clouds" / place
        folder.mkdir(parents=True)
        for k in range(5):
            np.save(folder / f"{k}.npy", rng.normal(size=(30 + k, 3)))
    (tmp_path / "my clouds" / "scan" / "train" / "notes.doc").touch()
    (tmp_path / "my clouds" / "papers").mkdir()  # no domain
    return tmp_path / "my clouds"


def test_clouds_of_your_own_are_summed_up_and_cached(own, main, capsys):
    expected = {name: folder.load(str(own), name, points=8) for name in ("cad", "scan")}
    assert main("--data", own) == 0
    said = capsys.readouterr().out
    assert f"cad: {own}/cache/cad.npz, 0.0 MB" in said and "| all of 2 classes |" in said
    assert "scan: 30 to 34 (median 32) points a cloud; " in said and "1 file passed over: 1 .doc." in said
    assert sorted(p.name for p in (own / "cache").iterdir()) == ["cad.npz", "scan.npz"]
    for name, domain in expected.items():
        shutil.rmtree(own / name)  # only the cache is left
        for a, b in zip(folder.load(str(own), name, points=8).splits, domain.splits, strict=True):
            np.testing.assert_array_equal(a.points, b.points)
            np.testing.assert_array_equal(a.label, b.label)


def test_clouds_of_your_own_are_verified_and_bad_ones_named(own, main, capsys):
    assert main("--data", own, "--verify") == 0
    assert "| unlabelled" in capsys.readouterr().out and not (own / "cache").exists()
    (own / "cad" / "test" / "mug" / "3.npy").write_bytes(b"")
    assert main("--data", own) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"{own}/cad/test/mug/3.npy: is empty.") and said.err.count("\n") == 1
    assert said.out.endswith(f"{own}: not readable or not written: cad.\n")
    assert sorted(p.name for p in (own / "cache").iterdir()) == ["scan.npz"]


def test_meshes_are_sampled_by_the_seed_given(own, main):
    triangle = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 1\n3 0 1 2\n"
    (own / "scan" / "train" / "mesh.off").write_text(triangle)
    found = []
    for flags in ((), ("--seed", 1), ("--mesh_points", 50), ()):
        assert main("--data", own, "--cache", own / "fast", *flags) == 0
        found.append(folder.load(str(own), "scan", points=8, cache=str(own / "fast")))
    assert [int(domain.origin.count[-1]) for domain in found] == [2048, 2048, 50, 2048]
    meshes = [domain.train.points[-1] for domain in found]
    np.testing.assert_array_equal(meshes[0], meshes[3])
    assert not np.array_equal(meshes[0], meshes[1])
    with pytest.raises(SystemExit) as told:
        main("--data", own, "--mesh_points", 0)
    assert told.value.code == 2
