"""The page of classified clouds, and the page itself in an installed Chromium."""

import base64
import functools
import html
import json
import re

import numpy as np
import pytest
from matplotlib.image import imread

from smdsb_jax.datasets.domain import normalize
from smdsb_jax.report import viewer
from tests.browser import open_browser, open_page
from tests.tiers import exhaustive

IMAGE = "<img src=x onerror=\"document.title = 'broken'\">"
NASTY = '</script><script>document.title = "broken"</script><!-- & "quoted" {{data}}'
CHAIR = "\u6905"
CLASSES = ("chair", IMAGE, "table", NASTY)
NAMES = (
    "/data/scans/10.npy", "/data/scans/2.npy", f"/data/scans/{IMAGE}.npy",
    "/data/scans/\u6905\u5b50 \u00fc.h5[3]", f"/data/scans/deep/{NASTY}.ply", "/data/scans/deep/1.npy",
)  # fmt: skip


@functools.cache
def classified(count=6, points=64):
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.full(len(CLASSES), 0.4), size=count).astype(np.float32)
    clouds = normalize(rng.normal(size=(count, points, 3)) * [1, 2, 3])
    saliency = (rng.gamma(0.5, size=(count, points)) - 0.2).astype(np.float32)
    names = NAMES if count == len(NAMES) else tuple(f"/data/{i}.npy" for i in range(count))
    return viewer.Classified(names, CLASSES, probability, clouds, saliency)


def first(count):
    arrays = ("names", "probability", "points", "saliency")
    return classified()._replace(**{name: getattr(classified(), name)[:count] for name in arrays})


def write(folder, of):
    return viewer.write_viewer(folder / "deep" / "index.html", f"runs/{NASTY}", of)


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def numbers(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_data_hold_what_was_given(tmp_path):
    data, of = data_of(write(tmp_path, classified())), classified()
    assert data["folder"] == "/data/scans/" and data["classes"] == list(CLASSES)
    assert [data["folder"] + name for name in data["names"]] == list(NAMES)
    np.testing.assert_array_equal(numbers(data["probability"], "<f4").reshape(-1, 4), of.probability)
    expected = [-sum(p * np.log(p) for p in row if p > 0) for row in of.probability.astype(float)]
    np.testing.assert_allclose(numbers(data["entropy"], "<f4"), expected, rtol=1e-4)
    for (unit, steps), points in zip(data["clouds"], of.points, strict=True):
        np.testing.assert_allclose(unit * numbers(steps, "<i2").reshape(-1, 3), points, atol=unit)
    for steps, map_ in zip(data["saliency"], of.saliency, strict=True):
        assert np.abs(numbers(steps, "u1") / 255 - np.clip(map_ / map_.max(), 0, 1)).max() < 1 / 255


def test_a_cloud_of_1024_points_takes_less_than_10_kilobytes(tmp_path):
    sizes = [write(tmp_path, classified(count, 1024)).stat().st_size for count in (1, 101)]
    assert (sizes[1] - sizes[0]) / 100 < 10_000
    assert sizes[0] < 6e6  # most of it plotly.js


def test_the_steps_of_saliency_tell_the_levels_of_the_picture():
    share = np.r_[-1, np.linspace(0, 1, 1000), 1 / 3, 2 / 3, 1].astype(np.float32)
    steps = viewer.quantize_share(7 * share)
    assert steps.dtype == np.uint8 and (steps.min(), steps.max()) == (0, 255)
    levels = np.minimum(2, np.floor(3 * np.clip(share, 0, 1)))
    np.testing.assert_array_equal(np.minimum(2, steps // 85), levels)
    assert viewer.quantize_share(np.array([-1.0, 0.0, -2.0])).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "names, folder",
    [
        (["scan.npy"], ""),
        (["a/b/scan.npy"], "a/b/"),
        (["a/bc/1.npy", "a/bd/1.npy"], "a/"),
        (["a/s.h5[0]", "a/s.h5[1]"], "a/"),
        (["/x.npy", "y.npy"], ""),
    ],
)
def test_the_folder_of_all_clouds_is_told_once(names, folder):
    assert viewer.common_folder(names) == folder


def test_each_cloud_has_a_picture_named_after_it(tmp_path):
    names = ("a/b.c.npy", "a/x.h5[12]", f"a/{80 * CHAIR}.npy", "$\\foo$ [1] <b>.npy")
    of = first(4)._replace(names=names)
    seen = []
    drawn = viewer.draw_predictions(tmp_path / "deep", of, lambda rows: seen.append(len(rows)) or rows)
    expected = ["0000_b.c", "0001_x_12", f"0002_{50 * CHAIR}", "0003_$_foo$ [1] _b_"]
    assert [path.name for path in drawn] == [f"{name}.png" for name in expected] and seen == [4]
    assert sorted((tmp_path / "deep").iterdir()) == drawn
    assert all(path.stat().st_size > 5000 for path in drawn)


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    address = write(tmp_path_factory.mktemp("viewer"), classified()).as_uri()
    with open_page(browser, address, "#cloud") as opened:
        yield opened


@pytest.fixture
def page(opened):
    """The page as when it was opened, which takes seconds; nothing may have gone wrong when the test ends."""
    page, wrong = opened
    page.evaluate(
        "() => { $('f-class').value = $('f-name').value = ''; document.activeElement.blur();"
        "Object.assign(view, {cloud: null, column: null, descending: false}); drawList(); }"
    )
    yield page
    assert wrong == [] and page.title() == "6 clouds, classified"


def listed(page):
    return page.evaluate(
        "[...document.querySelectorAll('#clouds tbody tr')]"
        ".map(tr => [...tr.cells].map(td => td.textContent))"
    )


def names_in(page):
    return [row[0] for row in listed(page)]


def shown(page):
    """(x, y, z) and color of the cloud that is drawn."""
    (trace,) = page.evaluate(
        "document.querySelector('#cloud').data.map(t => [t.x, t.y, t.z, t.marker.color, t.marker.size])"
    )
    return np.array(trace[:3]).T, np.array(trace[3]), np.array(trace[4])


def short(names):
    return [name.removeprefix("/data/scans/") for name in names]


def test_all_clouds_are_listed_as_text_in_their_order(page):
    of = classified()
    rows = [
        [name, CLASSES[p.argmax()], f"{100 * p.max():.1f}", f"{-np.sum(p * np.log(p)):.2f}"]
        for name, p in zip(short(NAMES), of.probability.astype(float), strict=True)
    ]
    assert listed(page) == rows
    assert page.locator("#count").inner_text() == "6 of 6 in /data/scans/"
    assert page.locator("img").count() == 0 and page.locator("header").inner_text().endswith(f"runs/{NASTY}")


def test_the_chosen_cloud_is_drawn_by_its_saliency_beside_the_probabilities_of_all_classes(page):
    of = classified()
    for row in (0, 4):
        page.locator("#clouds tbody tr").nth(row).click()
        points, color, size = shown(page)
        np.testing.assert_allclose(points, of.points[row], atol=1e-4)
        share = np.clip(of.saliency[row] / of.saliency[row].max(), 0, 1)
        assert np.abs(color - share).max() < 1 / 255
        np.testing.assert_allclose(size / size.min(), 1 + color, rtol=1e-6)
        bars = page.evaluate(
            "[...document.querySelectorAll('#bars tr')].map(tr => [...[...tr.cells].map(c => c.textContent), "
            "tr.querySelector('i').style.width, tr.className])"
        )
        assert [bar[0] for bar in bars] == list(CLASSES)
        assert [bar[1] for bar in bars] == [f"{100 * p:.1f} %" for p in of.probability[row]]
        widths = [float(bar[2].rstrip("%")) for bar in bars]
        np.testing.assert_allclose(widths, 100 * of.probability[row], atol=1e-3)
        assert [bar[3] for bar in bars].index("first") == of.probability[row].argmax()
        assert (
            page.inner_text("#about") == short(NAMES)[row] and page.inner_text("#place") == f"{row + 1} of 6"
        )
        assert short(NAMES)[row] in page.locator("#cloud").get_attribute("aria-label")


def test_a_heading_sorts_and_sorts_the_other_way_when_it_is_clicked_again(page):
    of = classified()
    h = -np.sum(of.probability * np.log(of.probability), axis=1)
    places = [sorted(CLASSES).index(name) for name in CLASSES]
    expected = {
        "Entropy": np.argsort(h), "Prob. %": np.argsort(of.probability.max(axis=1)),
        "Class": sorted(range(6), key=lambda i: (places[of.probability[i].argmax()], i)),
    }  # fmt: skip
    for heading, order in expected.items():
        cell = page.locator("#clouds th", has_text=heading)
        cell.locator("button").click()
        assert cell.get_attribute("aria-sort") == "ascending"
        assert names_in(page) == [short(NAMES)[i] for i in order]
        cell.locator("button").click()
        assert cell.get_attribute("aria-sort") == "descending"
        assert page.locator("#clouds th[aria-sort]").count() == 1
    page.locator("#clouds th button").first.click()
    found = names_in(page)
    assert found.index("2.npy") < found.index("10.npy") < found.index("deep/1.npy")  # as people count


def test_the_list_is_filtered_by_class_and_by_text(page):
    label = classified().probability.argmax(axis=1)
    offered = page.locator("#f-class option").all_inner_texts()
    assert offered == ["all", *(f"{CLASSES[k]} ({(label == k).sum()})" for k in np.unique(label))]
    for k in np.unique(label):
        page.select_option("#f-class", str(k))
        assert names_in(page) == [name for name, own in zip(short(NAMES), label, strict=True) if own == k]
    page.select_option("#f-class", "")
    page.fill("#f-name", "<IMG")
    assert names_in(page) == [f"{IMAGE}.npy"] and page.inner_text("#place") == "1 of 1"
    page.fill("#f-name", "scans/deep")  # also in the folder that all share
    assert len(names_in(page)) == 2
    page.fill("#f-name", "no such name")
    assert names_in(page) == [] and page.inner_text("#bars") == page.inner_text("#about") == ""
    assert "No cloud fits the filters." in page.inner_text("#cloud")
    page.fill("#f-name", "")
    assert len(names_in(page)) == 6 and page.inner_text("#place") == "1 of 6"


def test_the_arrow_keys_go_through_the_list_as_it_is_sorted(page):
    assert page.inner_text("#place") == "1 of 6" and page.locator("#previous").is_disabled()
    page.keyboard.press("ArrowDown")  # nothing has the focus
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#about") == short(NAMES)[2]
    page.focus("#f-name")
    for _ in range(5):  # four headings, and one stop for the whole list
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == short(NAMES)[2]
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.textContent") == short(NAMES)[1]
    assert page.locator("#clouds [aria-current]").count() == 1
    page.click("#next")
    page.click("#clouds th >> text=Entropy")
    order = names_in(page)
    assert page.inner_text("#about") == short(NAMES)[2]  # what was chosen stays
    page.keyboard.press("ArrowDown" if order[-1] != short(NAMES)[2] else "ArrowUp")
    assert abs(order.index(page.inner_text("#about")) - order.index(short(NAMES)[2])) == 1
    page.focus("#f-class")
    before = page.inner_text("#about")
    page.keyboard.press("ArrowDown")  # chooses a class
    page.select_option("#f-class", "")
    assert page.inner_text("#place").endswith("of 6") and before in order


def test_the_view_stays_when_the_cloud_changes_and_holds_every_cloud(page):
    box = page.locator("#cloud").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 200, steps=3)
    page.mouse.up()
    scene = "document.querySelector('#cloud')._fullLayout.scene"
    page.wait_for_function(f"{scene}.camera.eye.x !== 1.2")
    eye = page.evaluate(f"{scene}.camera.eye")
    page.click("#next")
    assert page.evaluate(f"{scene}.camera.eye") == eye
    ranges = np.array(page.evaluate(f"['xaxis', 'yaxis', 'zaxis'].map(a => {scene}[a].range)"))
    assert np.ptp(np.ptp(ranges, axis=1)) < 1e-6  # no axis is stretched
    points = classified().points[1]
    assert (points > ranges[:, 0]).all() and (points < ranges[:, 1]).all()


def test_the_viewer_draws_the_cloud(page, tmp_path):
    page.locator("#cloud").screenshot(path=tmp_path / "cloud.png")
    colors = np.unique((imread(tmp_path / "cloud.png")[..., :3] * 255).astype(int).reshape(-1, 3), axis=0)
    for level in viewer.pictures.LEVELS:  # drawn by WebGL or in the scale, and close to what was asked for
        assert np.abs(colors - [int(level[i : i + 2], 16) for i in (1, 3, 5)]).max(axis=1).min() <= 3


def test_on_a_phone_nothing_is_wider_than_the_screen_by_day_or_by_night(page, tmp_path):
    page.set_viewport_size({"width": 375, "height": 800})
    for scheme, lightness in (("light", 0.98), ("dark", 0.08)):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        assert page.locator("#bars tr").last.is_visible()
        page.screenshot(path=tmp_path / "phone.png")
        assert imread(tmp_path / "phone.png")[2, 2, :3] == pytest.approx(lightness, abs=0.05)
    page.set_viewport_size({"width": 1400, "height": 900})
    page.emulate_media(color_scheme="light")


def test_one_cloud_opens(browser, tmp_path):
    with open_page(browser, write(tmp_path, first(1)).as_uri(), "#cloud") as (page, wrong):
        assert names_in(page) == ["10.npy"] and page.title() == "1 cloud, classified"
        assert page.locator("#next").is_disabled() and page.locator("#previous").is_disabled()
        page.keyboard.press("ArrowDown")
        assert page.inner_text("#place") == "1 of 1" and wrong == []


@exhaustive
def test_a_thousand_clouds_open_and_the_list_follows_the_chosen_one(browser, tmp_path):
    of = classified(1000)
    order = np.argsort(of.probability.max(axis=1), kind="stable").tolist()
    window = {"viewport": {"width": 1400, "height": 620}}
    with open_page(browser, write(tmp_path, of).as_uri(), "#cloud", **window) as (page, wrong):
        assert len(names_in(page)) == 1000
        page.click("#clouds th >> text=Prob. %")
        place = order.index(0)  # the first cloud is still chosen
        for key, by in (("ArrowUp", -1), ("ArrowDown", 1), ("ArrowDown", 1)):
            page.keyboard.press(key)
            at = order.index(int(page.inner_text("#about").removesuffix(".npy")))
            assert page.inner_text("#place") == f"{at + 1} of 1000"
            assert at == (place := place + by)
            box, row = (page.locator(o).bounding_box() for o in (".all .scroll", "#clouds [aria-current]"))
            assert box["y"] + 20 <= row["y"] and row["y"] + row["height"] <= box["y"] + box["height"] + 1
        assert wrong == []


def test_the_page_needs_no_other_file(tmp_path):
    text = write(tmp_path, classified()).read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=(?!["'](?:data:|#)).*""", markup) == []
    assert "http" not in markup.replace("http-equiv", "") and html.escape(NASTY) in markup
