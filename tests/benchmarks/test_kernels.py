"""Every variant computes what the library's kernel does, so that their times can be compared."""

import chex
import jax
import numpy as np
import pytest

from benchmarks import kernels
from benchmarks.contenders import Setting
from tests.tiers import exhaustive

SETTING = Setting(batch=3, points=64)
CASES = kernels.cases(SETTING)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(("knn", "dropout"))])
@exhaustive
def test_all_variants_agree(name):
    variants, arguments = CASES[name]
    library, *others = (jax.jit(variant)(*arguments) for variant in variants.values())
    for other in others:
        chex.assert_trees_all_close(library, other, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("knn")])
def test_all_searches_find_the_same_neighbors(name):
    variants, arguments = CASES[name]
    found = [np.sort(jax.jit(variant)(*arguments), axis=-1) for variant in variants.values()]
    assert all((found[0] == other).mean() > 0.999 for other in found[1:])


def test_every_variant_is_timed_in_every_round(monkeypatch):
    chosen = {name: CASES[name] for name in CASES if name.startswith("dropout")}
    monkeypatch.setattr(kernels, "cases", lambda setting: chosen)
    records = kernels.measure(SETTING, rounds=3)
    assert [(r["variant"], len(r["ms"])) for r in records] == [("library", 3), ("bernoulli", 3)]
    assert records[0]["slower"]["median"] == 1
    assert "times the library's" in kernels.kernels_table(records)
