import shutil

import numpy as np
import pytest

from smdsb_jax.datasets.bodies import DOMAINS, FOLDER, check
from smdsb_jax.datasets.embedded.build import save


@pytest.fixture
def arrays():
    with np.load(FOLDER / "scan.npz", allow_pickle=False) as file:
        return dict(file)


def test_the_shipped_files_pass_and_print_the_readme(capsys):
    check.main([])
    said = capsys.readouterr().out
    readme = (FOLDER / "README.md").read_text()
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert len(rows) == 6 and all(line in readme for line in rows)
    assert said.count("the shipped bytes") == 2 and "NOT" not in said
    assert "43 bodies" in said


def test_other_bytes_are_said_to_be_other_and_a_body_in_two_domains_is_refused(tmp_path, arrays, capsys):
    for domain in DOMAINS:
        shutil.copy(FOLDER / f"{domain}.npz", tmp_path)
    turned = {key: arrays[key][:, ::-1] for key in ("points", "label")}  # the same sets of points
    save(tmp_path / "scan.npz", arrays | turned)
    check.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert said.count("NOT the shipped bytes") == 1 and said.count("the shipped bytes") == 2
    first = arrays["body"] == arrays["body"][0]
    save(tmp_path / "scan.npz", arrays | {"body": np.where(first, "makehuman/val00", arrays["body"])})
    with pytest.raises(ValueError, match="scan: makehuman/val00 is in another domain too"):
        check.main([str(tmp_path)])


def changed(array, index, value):
    """A copy with one entry set."""
    copy = array.copy()
    copy[index] = value
    return copy


def test_what_is_wrong_is_said(arrays):
    split, body, label, points = (arrays[key] for key in ("split", "body", "label", "points"))
    assert len(check.check_domain("scan", arrays)) == 18
    last, place = np.flatnonzero(split == 0)[-1], np.flatnonzero(split == 1)[0]
    lonely = np.where(body == body[last], body[0], body)  # a body fewer in training
    wrong = {
        "points are not float16": {"points": points.astype(np.float32)},
        "a cloud is not centered in the unit sphere": {"points": changed(points, (3, 5, 1), np.nan)},
        "classes are not head, hand,": {"classes": arrays["classes"][::-1]},
        "labels are not uint8 [n, 2048] below 8": {"label": changed(label, (0, 0), 8)},
        "labels are not uint8 [n, 2048] below 8 ": {"label": label.astype(np.int64)},
        "no training point of thigh.": {"label": np.where(label == 5, 6, label).astype(np.uint8)},
        "clouds and bodies are {'train': (49, 12)": {"split": changed(split, 0, 2)},
        "clouds and bodies are {'train': (50, 11)": {"body": lonely},
        f"{body[0]} is in two splits": {"body": np.where(body == body[place], body[0], body)},
    }
    for message, other in wrong.items():
        with pytest.raises(ValueError) as error:
            check.check_domain("scan", arrays | other)
        assert str(error.value).startswith(f"scan: {message.strip()}")


def test_the_table_counts_clouds_bodies_and_points_of_each_part():
    label = np.zeros((3, 10), np.uint8)
    label[0, :5], label[1, :], label[2, :3] = 7, 4, 1
    arrays = {"label": label, "split": np.array([0, 0, 2]), "body": np.array(["a", "a", "b"])}
    arrays = {key: np.concatenate([value, value[:1]]) for key, value in arrays.items()}
    arrays["split"][3], arrays["body"][3] = 1, "c"
    assert check.count_table("scan", arrays).splitlines() == [
        "| scan | train | 2 (1) | 25.0 | 0.0 | 0.0 | 0.0 | 50.0 | 0.0 | 0.0 | 25.0 |",
        "| scan | val | 1 (1) | 50.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 | 50.0 |",
        "| scan | test | 1 (1) | 70.0 | 30.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 |",
    ]
