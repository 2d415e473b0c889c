"""The report's parts, and the report itself in an installed Chromium."""

import base64
import csv
import functools
import html
import io
import json
import math
import re

import numpy as np
import pytest
from matplotlib.image import imread

from smdsb_jax.analysis import report
from smdsb_jax.analysis.conclusions import Conclusions, Table
from smdsb_jax.analysis.examined import SOURCE, TARGET, TARGET_TRUE
from smdsb_jax.analysis.figures.saliency_levels import saliency_level
from tests.analysis.synthetic_examined import examined, leaderboard
from tests.browser import open_browser, open_page, wait_for_plot
from tests.tiers import exhaustive

MINUS, NONE = "\N{MINUS SIGN}", "\N{EN DASH}"
NASTY = '</script><script>document.title = "broken"</script><!-- & "quoted" {{data}}'


@functools.cache
def checkpoints():
    """Two runs; of the second one only some samples have their cloud, and a class has a nasty name."""
    first, second = examined(), examined("gast, c2s", stage=2, shown=25)
    return first, second._replace(classes=(NASTY, *second.classes[1:]))


@functools.cache
def rows():
    return leaderboard(checkpoints())


def write(folder, figures=(), **changed):
    figures = {path: path.stem.replace("_", " ") for path in figures}
    given = {"leaderboard": rows(), "examined": checkpoints(), "config_text": f"seed: 0\n{NASTY}"} | changed
    return report.write_report(folder / "deep" / "report.html", f"Trial {NASTY}", figures=figures, **given)


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_quantized_saliency_is_off_by_half_a_unit_at_most_and_keeps_the_levels_of_the_extremes():
    saliency = np.random.default_rng(0).gamma(0.3, size=1000).astype(np.float32) - 0.1
    low, unit, steps = report.quantize_saliency(saliency)
    restored = low + unit * steps.astype(float)
    assert np.abs(restored - saliency).max() <= unit / 2 * (1 + 1e-5)
    assert restored[[saliency.argmin(), saliency.argmax()]] == pytest.approx([saliency.min(), saliency.max()])
    assert np.mean(saliency_level(restored) != saliency_level(saliency)) < 0.01
    assert report.quantize_saliency(np.full(3, 0.3, np.float32))[2].tolist() == [0, 0, 0]
    assert report.quantize_saliency(np.zeros(0, np.float32))[0] == 0
    assert report.quantize_saliency(np.array([np.nan, 1, 2, -np.inf]))[:2] == pytest.approx((0, 2 / 65535))


def test_the_data_hold_what_was_given_and_each_cloud_once(tmp_path):
    data, (first, second) = data_of(write(tmp_path)), checkpoints()
    assert [dict(zip(data["columns"], row, strict=True))["statistic"] for row in data["rows"]] == [
        row["statistic"] for row in rows()
    ]
    missing = [i for i, row in enumerate(rows()) if math.isnan(row["spearman"])]
    assert missing and all(data["rows"][i][data["columns"].index("spearman")] is None for i in missing)
    assert data["rows"][0][data["columns"].index("kendall")] is None
    assert len(data["clouds"]) == 2 * 40  # both target domains, and both runs, have the same clouds
    for e, stored in zip((first, second), data["checkpoints"], strict=True):
        np.testing.assert_array_equal(numbers(stored["shown"], "<i4"), e.shown)
        np.testing.assert_array_equal(numbers(stored["kept"], "<i4"), e.kept)
        np.testing.assert_array_equal(numbers(stored["scores"]["loss"], "<f4"), e.scores["loss"].astype("f4"))
        assert np.isnan(numbers(stored["scores"]["loss"], "<f4")[3])
        unit, cloud = data["clouds"][stored["cloud"][-1]]
        np.testing.assert_allclose(unit * numbers(cloud, "<i2").reshape(-1, 3), e.points[-1], atol=unit)


def test_the_page_needs_no_other_file(tmp_path):
    (tmp_path / "one two.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    for name in ("one two.png", "only.png"):
        (tmp_path / name).write_bytes(b"png")
    figures = [tmp_path / name for name in ("one two.svg", "one two.png", "only.png")]
    text = write(tmp_path, figures).read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=(?!["'](?:data:|#)).*""", markup) == []
    assert "http" not in markup.replace("http-equiv", "") and "{{" not in markup.replace("{{data}}", "")
    assert re.findall(r"src=.data:([^;]*);base64,[^>]* alt=.([\w ]*)", markup) == [
        ("image/svg+xml", "one two"), ("image/png", "only"),
    ]  # fmt: skip
    for fact in (
        "<dt>checkpoints</dt><dd>2</dd><dd>defrec, c2s; gast, c2s; stages 1, 2; seed 0</dd>",
        "40 + 40",
    ):
        assert fact in markup
    with pytest.raises(ValueError, match=r"a\.pdf cannot be put into the report: give SVG or PNG"):
        write(tmp_path, [tmp_path / "a.pdf"])


def test_checks_conclusions_and_notes_are_in_the_page_as_text(tmp_path):
    checks = [{"checkpoint": NASTY, "of": "dot_o, coupled", "spearman": 0.123}]
    table = Table(f"of {NASTY}", [{"statistic": NASTY}, {"statistic": "skewness"}])
    conclusions = Conclusions([table], [f"skewness: {NASTY}"])
    given = {"conclusions": conclusions, "notes": [f"fig4: {NASTY}"], "own": [NASTY]}
    each = [{"checkpoint": f"about {NASTY}", "accuracy": None}]
    page = write(tmp_path, checks=checks, about_each=each, **given).read_text(encoding="utf-8")
    text = html.escape(NASTY)
    assert f"<td>about {text}</td>" in page
    assert f"<li>skewness: {text}</li>" in page and f"<li>fig4: {text}</li>" in page
    assert f"<h3>of {text}</h3>" in page and page.index("<h3>of") < page.index("<li>skewness")
    assert f'<tr class="own"><td>{text}</td></tr>\n<tr><td>skewness</td></tr>' in page
    assert '<td class="number">0.12</td>' in page
    assert "<p>None was made.</p>" in write(tmp_path).read_text(encoding="utf-8")


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write(tmp_path_factory.mktemp("report")).as_uri()


@pytest.fixture(scope="module")
def opened(browser, address):
    with open_page(browser, address, "#scatter") as opened:
        yield opened


@pytest.fixture
def page(opened):
    """The page as it is when it has been opened; nothing may have gone wrong when the test ends."""
    page, wrong = opened
    page.reload()
    wait_for_plot(page, "#scatter")
    yield page
    assert wrong == []


def table(page):
    """The leaderboard's cells as text, without intervals and bars."""
    return page.evaluate(
        "[...document.querySelectorAll('#leaderboard tbody tr')]"
        ".map(tr => [...tr.cells].map(td => td.firstChild.textContent))"
    )


def listed(page):
    return page.locator("#list button").all_inner_texts()


def shown_cloud(page):
    return page.evaluate("document.querySelector('#cloud').data.map(t => [t.x, t.y, t.z])")


def test_the_leaderboard_begins_with_the_largest_correlation_of_source_and_gain(page):
    assert page.title().startswith("Trial </script>")
    chosen = [r for r in rows() if r["domain"] == SOURCE and r["measure"] == "gain"]
    expected = sorted(chosen, key=lambda r: -abs(r["spearman"]) if r["spearman"] == r["spearman"] else 9)
    found = table(page)
    assert [row[0] for row in found] == [r["statistic"] for r in expected]
    assert found[0][1:3] == ["1", f"{expected[0]['spearman']:.3f}".replace("-", MINUS)]
    assert found[-1][1:3] == [NONE, NONE] and math.isnan(expected[-1]["spearman"])
    first = page.locator("#leaderboard tbody tr").first.inner_text()
    assert f"{expected[0]['spearman_high95']:.3f}".replace("-", MINUS) in first  # the interval is in the cell
    assert f"{expected[0]['group']} · stage {expected[0]['stage']}" in first


def test_the_leaderboard_is_sorted_and_filtered_as_python_would(page):
    page.select_option("#f-group", "gast, c2s")
    page.select_option("#f-domain", TARGET)
    page.select_option("#f-measure", "")
    page.fill("#f-statistic", "IN")  # gini, margin
    chosen = [
        r for r in rows() if r["group"] == "gast, c2s" and r["domain"] == TARGET and "in" in r["statistic"]
    ]
    assert len(chosen) == 12
    for sign, aria in ((1, "ascending"), (-1, "descending")):
        page.click("#leaderboard >> text=Keep low")
        expected = sorted(chosen, key=lambda r: sign * r["kept_low"])
        head = page.locator("#leaderboard th", has_text="Keep low")
        assert head.get_attribute("aria-sort") == aria
        assert [(row[0], row[7]) for row in table(page)] == [(r["statistic"], r["side"]) for r in expected]
    with page.expect_download() as started:
        page.click("#csv")
    with open(started.value.path(), newline="") as file:
        saved = list(csv.DictReader(io.StringIO(file.read())))
    assert [float(r["kept_low"]) for r in saved] == [r["kept_low"] for r in expected]
    assert saved[0]["group"] == "gast, c2s"


def with_own(name, **other):
    """Of one checkpoint with long names: one's own statistic, which leads nothing, and a reference."""
    first = checkpoints()[0]
    own = first._replace(
        scores={name: first.scores["random"], "oracle: cos_o": first.measures["gain"], **first.scores}
    )
    found = leaderboard([own])
    return {"leaderboard": [r | other for r in found], "examined": [own], "own": [name]}


@pytest.fixture(scope="module")
def own_page(browser, tmp_path_factory):
    given = with_own("my_statistics_of_this_week:half_mass_of_the_map", seeds=3, same_sign=2, step=200)
    lines = [
        {"domain": "target", "measure": "gain", "statistic": given["own"][0], "adjusted": "-0.11 … +0.22"}
    ]
    path = write(tmp_path_factory.mktemp("own"), **given, conclusions=Conclusions([Table("t", lines)], ["s"]))
    with open_page(browser, path.as_uri(), "#scatter") as (page, wrong):
        yield page, given["leaderboard"]
        assert wrong == []


def test_ones_own_statistic_is_the_first_row_however_the_others_are_sorted(own_page):
    page, given = own_page
    name = given[0]["statistic"]
    for column in (None, "Spearman", "Keep low"):
        if column:
            page.click(f"#leaderboard >> text={column}")
        found = [row[0] for row in table(page)]
        assert found[0] == name and found[-1] == "oracle: cos_o"
    assert page.locator("#leaderboard tbody tr").first.get_attribute("class") == "own"
    assert [page.locator(f"#{i}").input_value() for i in ("s-sort", "p-x")] == [f"scores/{name}"] * 2
    count = page.inner_text("#count")
    assert count.startswith(f"10 rows of {len(given)}, each of 40 samples, 3 seeds; of 9 statistics")
    assert "2 of 3" in page.locator("#leaderboard tbody tr").first.inner_text()


def test_bold_is_what_excludes_0_as_the_best_of_all(own_page):
    page, given = own_page
    page.select_option("#f-domain", "")
    page.select_option("#f-measure", "")
    bold = page.evaluate(
        "[...document.querySelectorAll('#leaderboard tbody tr')].map(tr => [...tr.querySelectorAll('.sure')]"
        ".map(e => [tr.cells[0].innerText, e.closest('td').cellIndex, e.textContent])).flat()"
    )
    plain = [r for r in given if r["spearman_low95"] * r["spearman_high95"] > 0]
    sure = [r for r in plain if r["spearman_best_low95"] * r["spearman_best_high95"] > 0]
    assert 0 < len(sure) < len(plain)
    assert {place for _, place, _ in bold} == {2}  # Spearman alone: nothing else is adjusted
    texts = sorted(f"{r['spearman']:.2f}".replace("-", MINUS) for r in sure)
    assert sorted(text for *_, text in bold) == texts


def test_in_a_window_of_1400_pixels_no_column_is_cut_off(own_page):
    page, _ = own_page
    page.select_option("#f-domain", "")  # then each row says its domain too
    wider = page.evaluate(
        "[...document.querySelectorAll('.scroll, .sample, main, html')]"
        ".filter(e => e.scrollWidth > e.clientWidth).map(e => e.className || e.tagName)"
    )
    assert wider == []
    right = page.evaluate(
        "document.querySelector('#leaderboard thead th:last-child').getBoundingClientRect().right"
    )
    assert right <= 1400 - 2 * 24


def test_the_picker_changes_the_cloud_and_follows_order_and_filters(page):
    e = checkpoints()[0]
    first = shown_cloud(page)
    source = e.shown[e.domain[e.shown] == SOURCE]
    lowest = source[e.scores["skewness"][source].argmin()]
    np.testing.assert_allclose(np.array(first[0]).T, e.points[lowest], atol=1e-4)
    page.locator("#list button").nth(3).click()
    assert shown_cloud(page) != first and page.inner_text("#place") == "4 of 40"
    page.keyboard.press("ArrowLeft")
    page.click("#next")
    page.keyboard.press("ArrowDown")  # the focus is on the button, not in the list
    assert page.inner_text("#place") == "4 of 40"
    page.select_option("#s-sort", "scores/loss")
    page.select_option("#s-order", "descending")
    assert listed(page)[-1].split()[-1] == NONE  # the loss of one sample is missing
    page.select_option("#s-kept", "0")
    assert {text.split()[1] for text in listed(page)} == {"dropped"}
    assert len(listed(page)) == int((~e.kept[source]).sum())
    assert page.locator("#about").inner_text().startswith("dropped; predicted ")
    page.select_option("#s-color", "levels")
    counts = [len(x) for x, *_ in shown_cloud(page)]
    row = source[~e.kept[source]][np.nan_to_num(e.scores["loss"][source[~e.kept[source]]], nan=-9).argmax()]
    position = int(np.flatnonzero(e.shown == row)[0])
    assert counts == np.bincount(saliency_level(e.saliency[position]), minlength=3).tolist()
    page.select_option("#s-class", str(len(e.classes) - 1))
    page.select_option("#s-domain", "")
    of_class = (e.label == len(e.classes) - 1) & ~e.kept
    assert len(listed(page)) == of_class[e.shown].sum()


def test_a_point_of_the_scatter_plot_chooses_its_sample(page):
    e = checkpoints()[1]
    page.select_option("#s-checkpoint", "1")
    page.select_option("#s-kept", "0")
    page.select_option("#p-y", "measures/cos_o")
    traces = page.evaluate("document.querySelector('#scatter').data.map(t => [t.name, t.x, t.y])")
    assert [name for name, *_ in traces[:3]] == [SOURCE, TARGET, TARGET_TRUE]
    of = e.domain == TARGET
    np.testing.assert_allclose(traces[1][2], e.measures["cos_o"][of], rtol=1e-6)
    without = int(np.flatnonzero(of & ~np.isin(np.arange(len(of)), e.shown))[0])
    for row in (int(e.shown[e.domain[e.shown] == TARGET][2]), without):
        page.evaluate(
            f"document.querySelector('#scatter').emit('plotly_click', {{points: [{{customdata: {row}}}]}})"
        )
        assert f"row {e.index[row]}, batch {e.batch[row]}" in page.inner_text("#about")
    assert shown_cloud(page) == [] and page.locator("#s-domain").input_value() == "1"
    assert "was not stored" in page.inner_text("#cloud")
    assert NASTY in page.locator("#s-class").inner_text()


def test_the_viewer_draws_a_cloud(page, tmp_path):
    page.select_option("#s-order", "descending")  # the most skewed has points of all levels
    page.select_option("#s-color", "levels")
    page.locator("#cloud").screenshot(path=tmp_path / "cloud.png")
    colors = np.unique((imread(tmp_path / "cloud.png")[..., :3] * 255).astype(int).reshape(-1, 3), axis=0)
    assert len(colors) > 100
    for level in report.LEVELS:  # drawn by WebGL or in the legend, and close to what was asked for
        assert np.abs(colors - [int(level[i : i + 2], 16) for i in (1, 3, 5)]).max(axis=1).min() <= 3


@pytest.mark.parametrize("scheme, lightness", [pytest.param("light", 0.9, marks=exhaustive), ("dark", 0.1)])
def test_on_a_phone_nothing_is_wider_than_the_screen(browser, address, tmp_path, scheme, lightness):
    window = {"viewport": {"width": 375, "height": 800}, "color_scheme": scheme}
    with open_page(browser, address, "#scatter", **window) as (page, _):
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        assert (
            page.evaluate("document.querySelector('.scroll').scrollWidth") > 375
        )  # the table, in its own box
        page.screenshot(path=tmp_path / "phone.png")
    assert np.median(imread(tmp_path / "phone.png")[..., :3]) == pytest.approx(lightness, abs=0.1)


def test_a_report_of_nothing_opens(browser, tmp_path):
    page, wrong = browser.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(write(tmp_path, leaderboard=[], examined=[]).as_uri())
    assert "No checkpoint was examined." in page.inner_text("#samples") and wrong == []
    page.close()
