import importlib.util
from pathlib import Path

import numpy as np
import pytest

from smdsb_jax.datasets import folder

SCRIPT = Path(__file__).parents[2] / "launch" / "simulate_scans.py"


@pytest.fixture
def main():
    spec = importlib.util.spec_from_file_location("simulate_scans", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *flags: module.main([str(flag) for flag in flags])


@pytest.fixture
def data(tmp_path):
    """As ModelNet40's archive: CLASS/{train,test}; seven training and two test objects a class."""
    rng = np.random.default_rng(0)
    for label, stretch in (("ball", [1, 1, 1]), ("rod", [1, 1, 5]), ("plate", [5, 5, 1])):
        for split, count in (("train", 7), ("test", 2)):
            (tmp_path / "cad" / split / label).mkdir(parents=True)
            for i in range(count):
                points = rng.normal(size=(600, 3))
                points *= stretch / np.linalg.norm(points, axis=1, keepdims=True)
                np.save(tmp_path / "cad" / split / label / f"{i}.npy", points / np.abs(points).max())
    return tmp_path / "cad"


def names(out, domain, split):
    folder = out / domain / split
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.npy")}


def test_no_object_trains_both_domains_and_all_test_both(data, main, tmp_path, capsys):
    out = tmp_path / "clouds"
    assert main("--data", data, "--classes", "ball,stick=rod", "--out", out, "--points", 300) == 0
    clean, scanned = (names(out, domain, "train") for domain in ("clean", "scanned"))
    assert len(clean) == 2 * 4 and len(scanned) == 2 * 3 and not clean & scanned
    tests = [names(out, domain, "test") for domain in ("clean", "scanned")]
    assert tests[0] == tests[1] and len(tests[0]) == 4
    assert {path.split("/")[0] for path in clean} == {"ball", "stick"}
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 12 clean clouds, 10 scanned clouds.\nTrain with: python launch/train.py")
    for domain, most in (("clean", 300), ("scanned", 512)):
        found = folder.load(str(out), domain, points=64)
        assert found.classes == ("ball", "stick") and found.origin.count.max() <= most
    shapes = [np.load(path).shape for path in (out / "scanned").rglob("*.npy")]
    assert len(set(shapes)) > 5 and all(100 <= n <= 512 for n, _ in shapes)
    again = tmp_path / "again"
    main("--data", data, "--classes", "ball,stick=rod", "--out", again, "--points", 300)
    for path in out.rglob("*.npy"):
        assert path.read_bytes() == (again / path.relative_to(out)).read_bytes()
    main("--data", data, "--classes", "ball,stick=rod", "--out", tmp_path / "other", "--seed", 1)
    assert names(tmp_path / "other", "clean", "train") != clean


def test_what_cannot_be_is_refused_and_nothing_is_left(data, main, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "clouds"
    for flags, said in (
        (("--data", tmp_path / "none"), "none holds no clouds. Expected"),
        (("--data", data, "--classes", "bal"), "has no class 'bal'. Did you mean 'ball'"),
        (("--data", data, "--classes", "ball,=rod"), "'=rod' is not a class, or new=old"),
        (("--data", data, "--classes", "../up=rod"), "'../up=rod' is not a class"),
        (("--data", data, "--points", 3), ""),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(*flags, "--out", out)
        assert said in str(stopped.value) and "\n" not in str(stopped.value)
    (data / "train" / "rod" / "3.npy").write_bytes(b"no cloud")
    with pytest.raises(SystemExit, match=r"rod/3\.npy"):
        main("--data", data, "--out", out)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(SystemExit, match="is there already"):
        main("--data", data, "--out", data)
    for i in range(1, 7):
        (data / "train" / "plate" / f"{i}.npy").unlink()
    with pytest.raises(SystemExit, match="Class 'plate' has 1 training objects; two are the least"):
        main("--data", data, "--out", out)
