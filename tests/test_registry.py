import flax.linen as nn
import numpy as np
import pytest

from smdsb_jax.registry import check_range, check_type, lookup, options, suggest


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


@pytest.mark.parametrize(
    "value, default",
    [(2, 0.5), (np.float64(0.1), 0.5), (3, 1), ("x", ""), (True, False), ((1, 2), (3,)), ([1], (3,)),
     ((), (3,)), ((0.1, 2), ()), (None, None), ("any", None), (("a",), ("b", "c"))],
)  # fmt: skip
def test_values_of_the_defaults_type_pass(value, default):
    check_type("x.y", value, default)


@pytest.mark.parametrize(
    "value, default, wanted",
    [
        ("0.1", 0.5, "a finite number"),
        (float("inf"), 0.5, "a finite number"),
        (float("nan"), 0.5, "a finite number"),
        (None, 0.5, "a finite number"),
        (True, 0.5, "a finite number"),
        (1.5, 1, "a whole number"),
        (True, 1, "a whole number"),
        (1, True, "true or false"),
        (1, "", "text"),
        (3, (3,), "a tuple, each member a whole number"),
        ((3, 0.5), (3,), "a tuple, each member a whole number"),
        ("12", (3,), "a tuple, each member a whole number"),
        ((0.1, "a"), (), "a tuple, each member a finite number"),
        ((float("nan"), 0.1), (), "a tuple, each member a finite number"),
    ],
)
def test_other_types_and_numbers_that_are_not_finite_are_refused(value, default, wanted):
    with pytest.raises(ValueError) as error:
        check_type("x.y", value, default)
    assert str(error.value) == f"config.x.y = {value!r}: give {wanted}."


def test_a_range_holds_its_ends_and_not_nan():
    check_range("x.y", 0, 0, 1)
    check_range("x.y", 1.0, 0, 1)
    for value in (-1e-9, 1.1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=rf"config\.x\.y = {value}: between 0 and 1\."):
            check_range("x.y", value, 0, 1)
