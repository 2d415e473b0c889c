import pytest

from smdsb_jax.defaults import OWN_FIELDS, SECTIONS, choose, default_config, make
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


def recorder(*, width=3, weights=(1, 2)):
    return width, weights


@pytest.mark.parametrize("section", [s for s in SECTIONS if s != "data"])
def test_an_entry_is_made_with_its_options_and_without_the_sections_own_fields(section):
    config = choose(default_config(), section, f"{__name__}:recorder")
    config[section].width = 5
    assert make(config, section) == (5, (1, 2))
    assert set(OWN_FIELDS) == set(SECTIONS)


def test_what_an_entry_refuses_is_refused():
    config = default_config()
    config.pseudo_labels.threshold = 1.5
    with pytest.raises(ValueError, match=r"config\.pseudo_labels\.threshold = 1\.5: between 0 and 1"):
        make(config, "pseudo_labels")
