import shutil

from smdsb_jax.datasets.counts import Count
from smdsb_jax.datasets.pointsegda import DOMAINS
from smdsb_jax.datasets.pointsegda_counts import POINTS, PUBLISHED, verify


def test_published_totals():
    assert tuple(PUBLISHED) == DOMAINS
    assert [sum(counts) for counts in zip(*PUBLISHED.values(), strict=True)] == [267, 38, 76]
    # points of each train split that the logs select from
    selected = {"adobe": 59_392, "faust": 143_360, "mit": 241_664, "scape": 102_400}
    assert {domain: counts[0] * POINTS for domain, counts in PUBLISHED.items()} == selected


def test_a_complete_tree_passes_and_each_defect_is_named(tmp_path):
    folder = tmp_path / "PointSegDAdataset" / "scape"
    for split, count in (("train", 50), ("val", 7), ("test", 14)):
        (folder / split).mkdir(parents=True)
        for number in range(count):
            (folder / split / f"{number}.npy").touch()
    complete = [Count("scape", "train", 50, 50), Count("scape", "val", 7, 7), Count("scape", "test", 14, 14)]
    for root in (tmp_path, folder.parent):
        assert verify(str(root), "scape") == complete
        assert [count.found for count in verify(str(root), "mit")] == [0, 0, 0]

    (folder / "train" / "3.npy").unlink()
    (folder / "train" / "._3.npy").touch()  # hidden: no shape
    (folder / "val" / "more.npy").touch()
    shutil.move(folder / "test", folder / "Test")
    assert verify(str(tmp_path), "scape") == [
        Count("scape", "train", 50, 49),
        Count("scape", "val", 7, 8),
        Count("scape", "test", 14, 0),
        Count("scape", "Test", 0, 14),
    ]
