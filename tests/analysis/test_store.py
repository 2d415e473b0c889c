import numpy as np
import pytest

from smdsb_jax.analysis import store
from smdsb_jax.analysis.examine import Measured
from tests.analysis.synthetic_examined import examined

ABOUT = {"config": {"seed": "0"}, "samples": 40}
RNG = np.random.default_rng(0)
MEASURED = Measured(
    {"gain": RNG.normal(size=(2, 40)), "dot_o": RNG.normal(size=(2, 40))},
    {"cos_o, last layer": RNG.normal(size=(2, 40))},
    {"class and oracle": RNG.normal(size=())},
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "examined" / "runs_a_keep_ratio=0.7,stage=1,step=6.npz"
    store.save(path, examined(), MEASURED, ABOUT)
    return path


def test_the_measures_come_back_as_they_were(path):
    found = store.load_measured(path, ABOUT)
    for kind, values in MEASURED._asdict().items():
        back = getattr(found, kind)
        assert list(back) == list(values)
        for name, array in values.items():
            np.testing.assert_array_equal(back[name], array)
            assert back[name].dtype == array.dtype


def test_all_that_was_examined_is_there_without_pickles(path):
    e = examined()
    with np.load(path, allow_pickle=False) as saved:
        assert all(saved[name].dtype != object for name in saved.files)
        for name in ("domain", "index", "label", "kept", "points", "saliency", "classes"):
            np.testing.assert_array_equal(saved[name], getattr(e, name))
        for field in ("scores", "measures", "covariates", "saliency_shares"):
            own = {n.split("/", 1)[1]: saved[n] for n in saved.files if n.startswith(f"{field}/")}
            assert own.keys() == getattr(e, field).keys()
            np.testing.assert_array_equal(own[next(iter(own))], next(iter(getattr(e, field).values())))
        assert str(saved["group"]) == e.group


def test_what_was_measured_otherwise_or_not_at_all_is_none(path):
    assert store.load_measured(path, {**ABOUT, "samples": 41}) is None
    assert store.load_measured(path.with_name("other.npz"), ABOUT) is None


def flipped(content):
    middle = len(content) // 2
    return (
        content[:middle] + bytes(255 - b for b in content[middle : middle + 2000]) + content[middle + 2000 :]
    )


@pytest.mark.parametrize(
    "damage",
    [lambda c: b"", lambda c: b"not an archive", lambda c: c[: len(c) // 2], lambda c: b"PK" + c, flipped],
)
def test_a_damaged_file_is_none_or_whole(path, damage):
    for name in ("gain", "cos_o, last layer"):
        assert name in str(path.read_bytes())
    path.write_bytes(damage(path.read_bytes()))
    found = store.load_measured(path, ABOUT)
    if found is not None:  # the damage is in an array that is not a measure
        np.testing.assert_array_equal(found.measures["gain"], MEASURED.measures["gain"])
        np.testing.assert_array_equal(found.measures["dot_o"], MEASURED.measures["dot_o"])


def test_a_measure_whose_bytes_changed_is_not_believed(path):
    content, at = path.read_bytes(), path.read_bytes().index(b"measured measures/gain.npy")
    path.write_bytes(
        content[: at + 200] + bytes(255 - b for b in content[at + 200 : at + 300]) + content[at + 300 :]
    )
    assert store.load_measured(path, ABOUT) is None


def test_an_earlier_file_stays_until_the_new_one_is_whole(path, monkeypatch):
    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("no space")

    monkeypatch.setattr(store.np, "savez_compressed", fail)
    with pytest.raises(OSError, match="no space"):
        store.save(path, examined(), MEASURED, {**ABOUT, "samples": 41})
    assert store.load_measured(path, ABOUT) is not None
    assert [p.name for p in path.parent.glob("*.npz")] == [path.name]
