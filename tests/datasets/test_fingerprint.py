import json

import numpy as np
import pytest

from smdsb_jax.datasets import embedded
from smdsb_jax.datasets.domain import Domain, Split
from smdsb_jax.datasets.fingerprint import differences, fingerprint


def domain(**changes):
    rng = np.random.default_rng(0)
    splits = [Split(rng.uniform(-0.6, 0.6, (n, 64, 3)).astype(np.float32), np.arange(n, dtype=np.int32) % 3)
              for n in (2000, 30, 40)]  # fmt: skip
    return Domain("a", ("x", "y", "z"), *splits)._replace(**changes)


def changed(change):
    """What is told of a domain whose training clouds were changed."""
    before, after = domain(), domain()
    points, label = change(after.train.points, after.train.label)
    after = after._replace(train=Split(points, label))
    saved = json.loads(json.dumps(fingerprint(before, before)))  # as a checkpoint keeps it
    return differences(saved, fingerprint(before, after))


def test_the_same_clouds_have_the_same_and_another_processors_rounding_is_no_change():
    assert changed(lambda points, label: (points.copy(), label.copy())) == []
    rng = np.random.default_rng(1)
    assert changed(lambda p, k: (p * (1 + 1e-7 * rng.choice([-1, 1], p.shape)).astype(p.dtype), k)) == []


OTHER = "target train: other clouds, or another order of them"


def swap(array):
    return array[np.r_[1, 0, 2 : len(array)]]


@pytest.mark.parametrize("change, line", [
    (lambda p, k: (p[:-1], k[:-1]), "target train: 2000 clouds of 64 points -> 1999 of 64"),
    (lambda p, k: (p[:, :32], k), "target train: 2000 clouds of 64 points -> 2000 of 32"),
    (lambda p, k: (p, swap(k)), "target train: other labels, or the clouds in another order"),
    (lambda p, k: (swap(p), k), OTHER),
    (lambda p, k: (np.concatenate([0.9 * p[:1], p[1:]]), k), OTHER),
    (lambda p, k: (p[:, ::-1], k), OTHER),
])  # fmt: skip
def test_one_line_says_what_changed(change, line):
    assert changed(change) == [line]


def test_a_split_without_clouds_and_one_that_an_earlier_revision_did_not_note():
    empty = domain(val=Split(np.zeros((0, 64, 3), np.float32), np.zeros(0, np.int32)))
    found = fingerprint(empty, empty)
    assert differences({}, found) == [] and differences(found, found) == []


def test_the_embedded_clouds_are_always_the_same():
    first, again = (embedded.load("", "scan", points=64) for _ in range(2))
    assert fingerprint(first, first) == fingerprint(again, again)
