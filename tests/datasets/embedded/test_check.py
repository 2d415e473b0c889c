import shutil

import numpy as np
import pytest

from smdsb_jax.datasets.embedded import DOMAINS, FOLDER, check
from smdsb_jax.datasets.embedded.build import object_name, object_rows, save


@pytest.fixture
def arrays():
    with np.load(FOLDER / "blend.npz", allow_pickle=False) as file:
        return dict(file)


ROWS = {object_name(row): row for row in object_rows()}


def test_the_shipped_files_pass_and_print_the_readme(capsys):
    check.main([])
    said = capsys.readouterr().out
    readme = (FOLDER / "README.md").read_text()
    rows = [line for line in said.splitlines() if line.startswith("| ")]
    assert len(rows) == 9 and all(line in readme for line in rows)
    assert said.count("the shipped bytes") == 3 and "NOT" not in said
    assert "235 objects" in said


def test_other_bytes_are_said_to_be_other(tmp_path, arrays, capsys):
    for domain in DOMAINS:
        shutil.copy(FOLDER / f"{domain}.npz", tmp_path)
    arrays["points"] = arrays["points"][:, ::-1]  # the same sets of points
    save(tmp_path / "blend.npz", arrays)
    check.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert said.count("NOT the shipped bytes") == 1 and said.count("the shipped bytes") == 3


@pytest.mark.parametrize("value", [np.nan, 1.5])
def test_bad_coordinates_are_refused(arrays, value):
    arrays["points"] = arrays["points"].copy()
    arrays["points"][3, 5, 1] = value
    with pytest.raises(ValueError, match="blend: a cloud is not centered in the unit sphere"):
        check.check_domain("blend", arrays, ROWS)


def test_an_object_in_the_wrong_place_is_refused_by_name(arrays):
    arrays["split"] = arrays["split"].copy()
    arrays["split"][0] = 2
    with pytest.raises(ValueError, match=rf"blend: {arrays['object'][0]} is in \('bed', 'blend', 'test'\)"):
        check.check_domain("blend", arrays, ROWS)
    with pytest.raises(ValueError, match="scan: "):
        check.check_domain("scan", arrays, ROWS)
    with pytest.raises(ValueError, match="points are not float16"):
        check.check_domain("blend", arrays | {"points": arrays["points"].astype(np.float32)}, ROWS)
