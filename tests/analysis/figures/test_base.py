import pandas as pd
from matplotlib.image import imread

from smdsb_jax.analysis import figures
from smdsb_jax.analysis.figures import Material
from tests.analysis.synthetic_examined import examined


def test_a_figure_is_an_svg_a_png_and_its_numbers(tmp_path):
    written = figures.draw(["fig1"], Material([], [examined(), examined(seed=1)]), tmp_path)
    assert [p.name for p in written.paths] == ["fig1.svg", "fig1.png", "fig1.csv"]
    assert imread(written.paths[1]).std() > 0.05 and "<svg" in written.paths[0].read_text()
    table = pd.read_csv(written.paths[2])
    assert set(table.measure) == {"gain", "cos_o"} and set(table.seed) == {0, 1}


def test_of_several_pictures_each_is_named_after_what_it_shows(tmp_path):
    paths = figures.draw(["fig1"], Material([], [examined(), examined(stage=2)]), tmp_path).paths
    assert [p.stem for p in paths[::3]] == [f"fig1_defrec_c2s_stage_{stage}" for stage in (1, 2)]
