import pandas as pd
import pytest

from smdsb_jax.analysis import figures
from smdsb_jax.analysis.figures import Material
from tests.analysis.synthetic_examined import examined


def test_captions_say_which_figure_it_is_and_what_it_shows(tmp_path):
    written = figures.draw(["fig1"], Material([], [examined()]), tmp_path)
    assert set(written.captions.values()) == {"fig1: gain and oracle cosine over skewness"}


def test_an_unknown_figure_is_refused_before_any_is_drawn(tmp_path):
    with pytest.raises(ValueError, match="figure = 'fig55'.*Did you mean 'fig5'.*fig1"):
        figures.draw(["fig5", "fig55"], Material([], [examined()]), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, lacks, remedy",
    [
        ("fig1", lambda e: {"measures": {"loo": e.measures["loo"]}}, "the measures gain, cos_o"),
        ("fig5", lambda e: {n: getattr(e, n)[:1] for n in ("shown", "points", "saliency")}, "more samples"),
        ("fig5", lambda e: {"scores": {}}, "statistic skewness"),
    ],
)
def test_what_lacks_data_is_left_out_with_the_remedy(name, lacks, remedy, tmp_path):
    said, e = [], examined()
    other = "fig5" if name == "fig1" else "fig1"
    lacking = e._replace(**lacks(e))
    written = figures.draw([name, other], Material([], [lacking]), tmp_path, said.append)
    assert said[0].startswith(f"Figure {name} is left out: ") and remedy in said[0]
    assert all(path.name.startswith(other) for path in written.paths)


def test_a_figure_of_ones_own_is_drawn_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "own_figure.py").write_text(
        "from matplotlib.figure import Figure\n"
        "from smdsb_jax.analysis.figures import Drawn\n"
        "def count(material):\n"
        "    number = len(material.examined)\n"
        "    return {'all': Drawn(Figure(), [{'checkpoints': number}], [f'{number} checkpoints'])}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    material, said = Material([], [examined(), examined(seed=1)]), []
    written = figures.draw(["own_figure:count"], material, tmp_path, said.append)
    assert [p.name for p in written.paths] == ["count.svg", "count.png", "count.csv"]
    assert said == written.notes == ["own_figure:count: 2 checkpoints"]
    assert pd.read_csv(written.paths[2]).checkpoints.tolist() == [2]
