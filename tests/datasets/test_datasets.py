import inspect

import pytest

from smdsb_jax.datasets import DATASETS
from smdsb_jax.registry import options


@pytest.mark.parametrize("name", DATASETS)
def test_every_entry_has_one_signature_and_documented_options(name):
    load = DATASETS[name]
    parameters = inspect.signature(load).parameters
    assert list(parameters)[:3] == ["root", "domain", "points"]
    assert parameters["points"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["points"].default is inspect.Parameter.empty  # the caller's, from config.data
    for option, default in options(load).items():
        assert parameters[option].kind is inspect.Parameter.KEYWORD_ONLY
        assert isinstance(default, (int, float, bool, str, tuple))
        assert f"{option}: " in load.__doc__
