import numpy as np
import pytest

from smdsb_jax.datasets.readers import text
from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.text import read_text

POINTS = [[0.5, -1, 2e-3], [123456.789, 0.1, 3], [-0, 7, 1e10]]
ROWS = [["0.5", "-1", "2e-3"], ["123456.789", ".1", "3."], ["-0", "+7", "1E10"]]


def written(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(separator=" ", more=(), rows=ROWS):
    return "".join(separator.join([*row, *more]) + "\n" for row in rows)


@pytest.mark.parametrize("separator", [" ", "\t", ",", ";", ", ", "   ", " ; "])
@pytest.mark.parametrize("more", [(), ("0", "0", "1"), ("0", "0", "1", "17.000000")])
def test_separators_and_further_columns(tmp_path, separator, more):
    table = read_text(written(tmp_path, lines(separator, more)))
    np.testing.assert_array_equal(table[:, :3], POINTS)
    assert table.dtype == np.float64 and table.shape == (3, 3 + len(more))


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + lines(),
        lines().replace("\n", "\r\n"),
        lines().rstrip(),
        "# by hand\n// also\n\n" + lines().replace("\n", "\n  # between\n\n"),
        lines().replace("\n", " # behind\n"),
        "3\n" + lines(),
        "# first\n3 \r\n" + lines(),
        '"a";"b";"c"\n' + lines(";"),
        "x y z\n" + lines(),
        "  " + lines("  ").replace("\n", " \n"),
        lines(",").replace("0.5", '"0.5"'),
    ],
)
def test_what_is_no_point_is_passed_over(tmp_path, content):
    np.testing.assert_array_equal(read_text(written(tmp_path, content)), POINTS)


@pytest.mark.parametrize(
    "names", ["label,Z,y,X", '"label","z","Y","x"', "label, z , y, x", "label;z;y;x", "'';Z;Y;X"]
)
def test_columns_are_taken_by_name(tmp_path, names):
    rows = [["7", *row[::-1]] for row in ROWS]
    separator = ";" if ";" in names else ","
    np.testing.assert_array_equal(
        read_text(written(tmp_path, f"{names}\n{lines(separator, rows=rows)}")), POINTS
    )


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "holds no points"),
        ("\n \n# x\n", "holds no points"),
        ("x,y,z\n", "holds no points"),
        ("some words\n", "holds no points"),
        ("some words\nand more\n", "line 2, 'and more', has 'and' among its numbers"),
        ("# c\n" + lines() + "1 2\n", "line 5, '1 2', has 2 values, line 2 has 3"),
        ("1 2 3 4\n" + lines(), r"line 2, '0\.5 -1 2e-3', has 3 values, line 1 has 4"),
        (lines().replace(".1", "one"), r"line 2, '123456\.789 one 3\.', has 'one' among its numbers"),
        ("chair 1 2\n" + lines(), "line 1, 'chair 1 2', has 'chair' among its numbers"),
        (lines(",").replace(".1", ""), r"line 2, '123456\.789,,3\.', has '' among its numbers"),
        (lines(";").replace(".", ","), "line 1, '0,5;-1;2e-3', has '0,5' among its numbers"),
        ("4\n" + lines(), "line 1 declares 4 points, and 3 lines follow"),
        ('"x" "y" "z"\n' + lines(more=["1"]), r"names 3 columns, and line 2, .* has 4"),
        ("x" * 1000 + " 1\n", "line 1, '" + "x" * 40 + "', has '" + "x" * 40 + "' among its numbers$"),
        (lines().encode("utf-16"), "holds no points|among its numbers"),
    ],
)
def test_what_is_none_is_refused_with_its_line(tmp_path, content, said):
    with pytest.raises(Unreadable, match=said):
        read_text(written(tmp_path, content))


def test_numbers_keep_all_their_digits(tmp_path):
    cloud = np.random.default_rng(0).normal([4.5e5, 5.4e6, 100], size=(200, 3))
    content = "\n".join(" ".join(map(repr, row)) for row in cloud.tolist())
    np.testing.assert_array_equal(read_text(written(tmp_path, content)), cloud)


def test_a_long_file_is_not_parsed_line_by_line(tmp_path, monkeypatch):
    lines_seen, split = [], text._words
    monkeypatch.setattr(text, "_words", lambda line: lines_seen.append(line) or split(line))
    assert read_text(written(tmp_path, "1000\n" + "0.123456 -1.5 2.25\n" * 1000)).shape == (1000, 3)
    assert len(lines_seen) <= 3
