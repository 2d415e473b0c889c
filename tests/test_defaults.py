import pytest

from smdsb_jax.defaults import SECTIONS, choose, default_config
from smdsb_jax.registry import options


def test_the_papers_defaults():
    config = default_config()
    assert (config.selection.statistic, config.selection.keep_ratio) == ("skewness", 0.7)
    assert (config.saliency.mode, config.saliency.alpha) == ("per_sample", 1.0)
    assert (config.selection.scope, config.selection.denominator, config.selection.execution) == (
        "pooled", "batch", "mask",
    )  # fmt: skip
    assert config.batch_size == 64 and config.batch_is_total


@pytest.mark.parametrize("section", SECTIONS)
def test_choosing_replaces_the_options_and_keeps_the_sections_own_fields(section):
    for name, entry in SECTIONS[section].items():
        config = default_config()
        before = dict(config[section])
        config = choose(config, section, name)
        own = set(before) - set(options(SECTIONS[section][before["name"]]))
        assert set(config[section]) == own | set(options(entry)) and config[section].name == name


def test_an_unknown_entry_is_refused():
    with pytest.raises(
        ValueError, match=r"config\.encoder\.name = 'dgcn' is not known\. Did you mean 'dgcnn'"
    ):
        choose(default_config(), "encoder", "dgcn")
