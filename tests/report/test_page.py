import base64
import json

import numpy as np
import pytest

from smdsb_jax import files
from smdsb_jax.analysis import report
from smdsb_jax.report import page, viewer

NASTY = '</script><script>document.title = "broken"</script><!-- & "quoted" {{data}}'


def test_a_script_cannot_be_ended_by_its_data():
    value = {"name": NASTY, "line": "\u2028", "n": [1, None]}
    text = page.script_json(value)
    assert "<" not in text and "\u2028" not in text and json.loads(text) == value
    with pytest.raises(ValueError):
        page.script_json(float("nan"))


def test_a_quantized_cloud_is_off_by_half_a_unit_at_most():
    cloud = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    unit, steps = page.quantize_cloud(cloud)
    assert steps.dtype == np.int16 and unit == pytest.approx(np.abs(cloud).max() / 32767)
    assert np.abs(unit * steps - cloud).max() <= unit / 2 * (1 + 1e-5)
    assert not page.quantize_cloud(np.zeros((4, 3), np.float32))[1].any()
    assert page.quantize_cloud(np.zeros((0, 3), np.float32))[1].shape == (0, 3)


def test_numbers_are_encoded_row_by_row_and_in_little_endian_order():
    assert base64.b64decode(page.encode(np.array([[1, 2], [-1, 256]]), "<i2")) == bytes(
        [1, 0, 2, 0, 255, 255, 0, 1]
    )
    assert np.isinf(np.frombuffer(base64.b64decode(page.encode(np.array([1e300]), "<f4")), "<f4"))


def written(tmp_path, body="{{body}}"):
    (tmp_path / "template.html").write_text("<b>" + body + "</b>{{style}}|{{data}}|{{script}}")
    (tmp_path / "own.js").write_text("own();")
    return page.write_page(
        tmp_path / "deep" / "page.html", tmp_path / "template.html", tmp_path / "own.js", {"n": NASTY},
        {"body": "{{data}} and {{nothing}}"},
    )  # fmt: skip


def test_what_is_put_into_a_page_is_not_searched_for_places(tmp_path):
    text = written(tmp_path).read_text(encoding="utf-8")
    assert text.startswith("<b>{{data}} and {{nothing}}</b>:root {")
    style, data, script = text.partition("</b>")[2].split("|", 2)
    assert style == page.STYLE.read_text() and json.loads(data) == {"n": NASTY}
    assert script == page.SCRIPT.read_text() + "own();"


def test_an_earlier_page_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = written(tmp_path)
    before = path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        written(tmp_path, "another")
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_no_script_of_ours_ends_its_element():
    scripts = [module.SCRIPT.read_text() for module in (page, report, viewer)]
    assert not any("</script" in text for text in [*scripts, page.get_plotlyjs()])
    assert "showSendToCloud: false" in scripts[0]  # a button of plotly's that sends the data away
