import flax.linen as nn
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from smdsb_jax.pretext import PRETEXT, Pretext
from smdsb_jax.registry import (
    FUNCTION,
    check_range,
    check_type,
    foreign_names,
    function_returning,
    lookup,
    options,
    printable,
    refuse_foreign,
    shown,
    subclass_of,
    suggest,
)


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
    assert lookup({}, f"{__name__}:function", "config.x.name", FUNCTION)(1, points=2) == (1, 2, 2.0, "x")


def test_without_a_kind_nothing_is_imported():
    with pytest.raises(ValueError, match="'this:s' is not known. Known: a."):
        lookup({"a": 1}, "this:s", "config.x.name")


def bare():
    return PRETEXT["none"]()


def annotated() -> Pretext:
    return PRETEXT["none"]()


def by_string() -> "Pretext":
    return PRETEXT["none"]()


def of_nothing() -> "Absent":
    return PRETEXT["none"]()


def of_text() -> str:
    return ""


compiled, instance = jax.jit(function), Module()
TASK, ENCODER = function_returning(Pretext), subclass_of(nn.Module)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("annotated", TASK),
        ("by_string", TASK),
        ("Module", ENCODER),
        ("bare", FUNCTION),
        ("compiled", FUNCTION),
    ],
)
def test_what_is_of_the_wanted_kind_is_taken(name, kind):
    assert lookup({}, f"{__name__}:{name}", "config.x.name", kind) is globals()[name]


@pytest.mark.parametrize(
    "name, kind, words",
    [
        ("os:system", TASK, "is a builtin_function_or_method; it must be a Python function annotated as"),
        (
            "subprocess:getoutput",
            TASK,
            "is a function; it must be a Python function annotated as `-> Pretext`",
        ),
        ("subprocess:Popen", TASK, "is a type; it must be"),
        (f"{__name__}:bare", TASK, "annotated as `-> Pretext`, of smdsb_jax.pretext"),
        (f"{__name__}:of_nothing", TASK, "annotated as"),
        (f"{__name__}:of_text", TASK, "annotated as"),
        ("subprocess:getoutput", ENCODER, "is a function; it must be a class derived from flax.linen"),
        ("subprocess:Popen", ENCODER, "is a type; it must be a class derived from flax.linen"),
        (f"{__name__}:instance", ENCODER, "is a Module; it must be a class"),
        ("os:system", FUNCTION, "it must be a Python function"),
        ("math:pi", FUNCTION, "is a float; it must be a Python function"),
    ],
)
def test_what_is_of_another_kind_is_refused_with_the_kind(name, kind, words):
    with pytest.raises(ValueError) as error:
        lookup({}, name, "config.x.name", kind)
    assert str(error.value).startswith(f"config.x.name = {name!r} ") and words in str(error.value)


SAVED = {
    "seed": 0,
    "data": {"name": "folder", "root": "C:/clouds", "source": "a:b"},
    "encoder": {"name": "mine:Net", "k": 3},
    "selection": {"statistic": "mine:half", "side": "low"},
    "combine": {"name": "sum", "inner": {"name": "deep:er"}},
}


def test_names_from_outside_the_library_are_found_in_any_depth():
    assert foreign_names(SAVED) == foreign_names(ConfigDict(SAVED)) == {
        "config.encoder.name": "mine:Net",
        "config.selection.statistic": "mine:half",
        "config.combine.inner.name": "deep:er",
    }  # fmt: skip


def test_foreign_code_is_refused_unless_each_name_is_allowed():
    refuse_foreign(SAVED, ["mine:Net", "mine:half", "deep:er", "more:than_that"], "runs/a")
    for allow in ("mine:Net, deep:er", ("mine:Net", "deep:er")):
        with pytest.raises(ValueError) as error:
            refuse_foreign(SAVED, allow, "runs/a")
        assert "config.selection.statistic = 'mine:half'" in str(error.value)
        assert str(error.value).startswith("runs/a: ") and "\n" not in str(error.value)
        assert "--allow mine:half" in str(error.value)


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
        lookup({"abc": 1}, name, "config.x.name", FUNCTION)
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


@pytest.mark.parametrize("value, default", [((1.0, 1e300), (0.5,)), (2**31, 1), ((-(2**40),), (1,))])
def test_numbers_that_the_step_cannot_hold_are_refused(value, default):
    with pytest.raises(ValueError, match=r"config\.x\.y = \S+: between -\S+ and \S+\.$"):
        check_type("x.y", value, default)


def test_a_range_holds_its_ends_and_not_nan():
    check_range("x.y", 0, 0, 1)
    check_range("x.y", 1.0, 0, 1)
    for value in (-1e-9, 1.1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=rf"config\.x\.y = {value}: between 0 and 1\."):
            check_range("x.y", value, 0, 1)


def test_text_and_values_on_one_line():
    assert printable("a\nb\x1b[2J\udc80ä\u2028") == r"a\nb\x1b[2J\udc80ä\u2028"
    assert shown(ConfigDict({"a": {"b": 1}})).count("\n") == 0
    assert shown("x" * 99) == f"'{'x' * 99}…" and shown((1, 2)) == "(1, 2)"
    assert suggest("n1", [f"n{i}" for i in range(1000)]).endswith(" and 920 more.")
