import flax.linen as nn
import pytest
from ml_collections import ConfigDict

from smdsb_jax.combine import Combine
from smdsb_jax.datasets import Domain
from smdsb_jax.defaults import (
    OWN_ENTRIES,
    OWN_FIELDS,
    SECTIONS,
    choose,
    default_config,
    find_entry,
    make,
)
from smdsb_jax.pretext import Pretext
from smdsb_jax.pseudo_labels import PseudoLabelRule
from smdsb_jax.registry import options
from smdsb_jax.tasks import Task


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


class Encoder(nn.Module):
    width: int = 3
    weights: tuple[int, ...] = (1, 2)


def task(*, width=3, weights=(1, 2)) -> Pretext:
    return Pretext(width, weights, (), ())


def meaning(*, width=3, weights=(1, 2)) -> Task:
    return Task(width, weights, (), (), (), "", ())


def rule(*, width=3, weights=(1, 2)) -> Combine:
    return Combine(width, weights)


def labels(*, width=3, weights=(1, 2)) -> PseudoLabelRule:
    return PseudoLabelRule(width, weights)


def load(root, domain, *, points, width=3, weights=(1, 2)) -> Domain:
    return Domain(width, weights, (), (), ())


OWN = {
    "task": meaning,
    "encoder": Encoder,
    "pretext": task,
    "combine": rule,
    "pseudo_labels": labels,
    "data": load,
}


@pytest.mark.parametrize("section", [s for s in SECTIONS if s != "data"])
def test_an_entry_is_made_with_its_options_and_without_the_sections_own_fields(section):
    config = choose(default_config(), section, f"{__name__}:{OWN[section].__name__}")
    config[section].width = 5
    made = make(config, section)
    assert ((made.width, made.weights) if section == "encoder" else made[:2]) == (5, (1, 2))
    assert set(OWN_FIELDS) == set(OWN_ENTRIES) == set(SECTIONS)


def test_equal_options_make_the_same_functions_and_other_types_of_them_others():
    def made(**changed):
        config = default_config()
        config.pretext.update(changed)
        return make(config, "pretext").prepare

    assert made() is made() and made() is not made(scale=10.0)
    own = {"name": f"{__name__}:task"}
    widths = [make({"pretext": ConfigDict(own | {"width": width})}, "pretext")[0] for width in (1, 1.0, True)]
    assert [type(width) for width in widths] == [int, float, bool]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("name", ["os:system", "subprocess:getoutput", "subprocess:Popen"])
def test_what_is_no_entry_of_its_section_is_refused_before_it_is_called(section, name):
    with pytest.raises(ValueError, match=rf"config\.{section}\.name = '{name}' is a .*; it must be a "):
        find_entry(section, name)
    for other, own in OWN.items():
        named = f"{__name__}:{own.__name__}"
        if other == section:
            assert find_entry(section, named) is own
        else:
            with pytest.raises(ValueError, match="it must be a "):
                find_entry(section, named)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_librarys_entries_are_of_the_kind_that_is_asked_of_a_users(section):
    assert all(OWN_ENTRIES[section].fits(entry) for entry in SECTIONS[section].values())


def test_what_an_entry_refuses_is_refused():
    config = default_config()
    config.pseudo_labels.threshold = 1.5
    with pytest.raises(ValueError, match=r"config\.pseudo_labels\.threshold = 1\.5: between 0 and 1"):
        make(config, "pseudo_labels")
