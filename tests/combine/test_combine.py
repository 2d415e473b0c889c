import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.combine import COMBINE, Told
from smdsb_jax.config import resolve
from smdsb_jax.defaults import choose, default_config
from tests.combine.merging import merge_each, random_rows


def trees(seed, tasks=2):
    keys = jax.random.split(jax.random.key(seed), tasks)
    return tuple({"agg": jax.random.normal(k, (3, 2)), "b": jax.random.normal(k, (4,))} for k in keys)


def told(tasks):
    names = ("class", *(f"pretext/{i}" for i in range(1, tasks)))
    return Told(names, jnp.ones(tasks), jnp.full(tasks, jnp.nan), jnp.zeros(()))


@pytest.mark.parametrize("name", COMBINE)
def test_every_rule_is_finite_also_for_absent_tasks_and_jits(name, tasks=3):
    rule = COMBINE[name]()
    gradients = trees(0, tasks)
    known = told(tasks)
    state = rule.init(gradients[0], known.tasks)

    def merge(key, gradients, losses, state):
        return rule.update(key, gradients, known._replace(losses=losses), state)

    traced = jax.jit(merge).trace(jax.random.key(0), gradients, jnp.ones(tasks), state)
    assert traced.lower(lowering_platforms=("cuda",)).as_text()
    update = traced.lower().compile()  # once: it refuses a state of other shapes or types
    zero, some = jax.tree.map(jnp.zeros_like, gradients[0]), jnp.ones(tasks)
    masked = some.at[1:].set(0.0)  # the losses of an all-masked batch
    for given, losses in (
        (gradients, some), ((zero, *gradients[1:]), 1 - masked),
        ((*gradients[:-1], zero), some.at[-1].set(0.0)), ((zero,) * tasks, 0 * some),
        ((gradients[0], *[zero] * (tasks - 1)), masked), (gradients, some),
    ):  # fmt: skip
        merged = update(jax.random.key(0), given, losses, state)
        state = merged.state
        chex.assert_trees_all_equal_shapes(merged.encoder, gradients[0])
        chex.assert_tree_all_finite(merged)
        if losses is masked:
            chex.assert_trees_all_equal(merged.encoder, gradients[0])  # exactly
    assert (merged.weights is None) == (name == "sum")


REFUSED = [
    ("cagrad", "c", 1.0), ("cagrad", "rescale", 3), ("cagrad", "scale", "total"), ("mgda", "scale", "total"),
    ("upgrad", "scale", "total"), ("aligned_mtl", "scale", "total"), ("cosine_gate", "form", "mild"),
    ("metabalance", "r", 1.5), ("metabalance", "beta", 1.0), ("metabalance", "scope", "layer"),
    ("metabalance", "strategy", "C"), ("gradnorm", "alpha", -1.0), ("gradnorm", "learning_rate", -1.0),
    ("gradnorm", "initial_steps", 0), ("uncertainty", "form", "paper"),
    ("uncertainty", "learning_rate", -1.0),
    ("uncertainty", "start", 50.0), ("dwa", "window", 0), ("dwa", "temperature", 0.0), ("dtp", "gamma", -1.0),
    ("dtp", "rate", 0.0), ("dtp", "unknown", "guess"), ("dtp", "initial_steps", 0), ("lbtw", "alpha", -1.0),
    ("lbtw", "window", -1), ("famo", "learning_rate", -1.0), ("famo", "decay", -1.0),
    ("famo", "pretext_minimum", 1.0), ("famo", "scale", "total"),
]  # fmt: skip


@pytest.mark.parametrize("name, option, value", REFUSED)
def test_an_impossible_option_is_refused_in_one_line(name, option, value):
    with pytest.raises(ValueError, match=rf"^config\.combine\.{option} = [^\n]*$"):
        COMBINE[name](**{option: value})


def test_a_configuration_refuses_it_before_any_work():
    config = choose(default_config(), "combine", "cagrad")
    config.combine.c = 2.0
    with pytest.raises(ValueError, match=r"^config\.combine\.c = 2\.0: between 0 and 0\.999\.$"):
        resolve(config)


@pytest.mark.parametrize("tasks", [2, 3])
@pytest.mark.parametrize(
    "name, peer, options, extra",
    [("pcgrad", "PCGrad", {}, ""), ("mgda", "MGDA", {"epsilon": 1e-9, "max_iters": 1000}, ""),
     ("upgrad", "UPGrad", {}, "qpsolvers"), ("aligned_mtl", "AlignedMTL", {}, ""),
     ("cagrad", "CAGrad", {"c": 0.5, "norm_eps": 1e-9}, "cvxpy")],
)  # fmt: skip
def test_random_gradients_are_merged_as_torchjd_does(name, peer, options, extra, tasks):
    torch = pytest.importorskip("torch", reason="TorchJD needs PyTorch: pip install torch")
    aggregation = pytest.importorskip("torchjd.aggregation", reason="pip install torchjd")
    if extra:
        pytest.importorskip(extra, reason=f"TorchJD's {peer} needs it: pip install {extra}")
    ours = {"cagrad": {"rescale": 0, "scale": "mean"}, "pcgrad": {}}.get(name, {"scale": "mean"})
    rule, aggregate = COMBINE[name](**ours), getattr(aggregation, peer)(**options)
    torch.manual_seed(0)
    draws = random_rows(tasks)
    for rows, found in zip(draws, merge_each(rule, draws), strict=True):
        expected = [aggregate(torch.tensor(rows))]
        if name == "pcgrad" and tasks > 2:  # both draw their orders: one of them is as ours
            expected += [aggregate(torch.tensor(rows)) for _ in range(40)]
        # steps of Frank and Wolfe come near slowly, and a quadratic program is regularized
        error = {"mgda": 2e-2, "upgrad": 4e-3}.get(name, 1e-3)
        assert min(np.abs(found - e.numpy()).max() for e in expected) < error
