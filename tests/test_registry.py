import flax.linen as nn
import pytest

from smdsb_jax.registry import lookup, options, suggest


class Module(nn.Module):
    width: int = 3
    layers: tuple[int, ...] = (1, 2)


def function(root, *, points, scale=2.0, name_of="x"):
    return root, points, scale, name_of


def test_options_are_the_keywords_with_defaults():
    assert options(Module) == {"width": 3, "layers": (1, 2)}
    assert options(function) == {"scale": 2.0, "name_of": "x"}


def test_lookup_finds_names_and_imports():
    assert lookup({"a": 1}, "a", "config.x.name") == 1
    assert lookup({"a": 1}, "math:sqrt", "config.x.name")(9) == 3


@pytest.mark.parametrize(
    "name, words",
    [
        ("b", "Known: abc."),
        ("ab", "Did you mean 'abc'?"),
        ("no.such:f", "cannot be imported"),
        ("math:nothing", "cannot be imported"),
    ],
)
def test_errors_name_the_field_and_the_remedy(name, words):
    with pytest.raises(ValueError) as error:
        lookup({"abc": 1}, name, "config.x.name")
    assert str(error.value).startswith(f"config.x.name = {name!r}") and words in str(error.value)


def test_suggest_without_a_near_name_lists_all():
    assert suggest("zzz", ["b", "a"]) == " Known: a, b."
