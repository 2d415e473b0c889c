"""The PyTorch reference and the library compute the same step from the same weights, clouds and deformation.

Dropout is off and nothing is augmented. Both variants of the reference are compared: eager and factorised.
"""

import functools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("torch", reason="the reference needs PyTorch: pip install torch")

import torch

import reference
from reference import deform as torch_deform
from reference.step import keep_mask as torch_keep_mask
from reference.step import learning_rate, momentum
from smdsb_jax import choose, default_config, resolve, train_step
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.geometry import regions
from smdsb_jax.network import predict
from smdsb_jax.optimizer import learning_rate_schedule, momentum_cycle
from smdsb_jax.selection import keep_mask, score_samples
from smdsb_jax.selection import select as select_samples
from smdsb_jax.state import Batch, Clouds, TrainState
from tests.tiers import cases

QUICK = {"xla_backend_optimization_level": 0}  # compiling costs more than the steps
BATCH, POINTS, CLASSES, STEPS = 4, 48, 3, 3
ORDER = np.random.default_rng(3).permutation(27)

# what our step records beside what it computes
OURS = re.compile("^update/norm$|^combine/|/(loss_low|loss_high|undefined)$")


def small(encoder, fields):
    config = choose(default_config(), "encoder", encoder)
    config.encoder.embedding = 32
    config.encoder.layers = (8, 12) if encoder == "dgcnn" else (8, 8, 8, 12)
    if encoder == "dgcnn":
        config.encoder.k, config.encoder.input_tnet = 6, False
    config.data.points, config.data.subsample, config.batch_size = POINTS, "first", 2 * BATCH
    config.augment.update({"rotate": "none", "jitter_std": 0.0, "jitter_clip": 0.0})
    config.classification.dropout = config.pretext.dropout = 0.0
    config.pretext.min_share = 3 / config.data.points
    config.selection.target_shift = (0.1, 0.0)  # no noise
    config.stage1.steps = config.stage2.steps = 10
    for path, value in fields.items():
        section, name = path.split("__")
        config[section][name] = value
    return resolve(config)


def clouds(seed, label, weight=None):
    points = np.random.default_rng(seed).normal(scale=0.4, size=(BATCH, POINTS, 3))
    return Clouds(points, np.arange(BATCH) % CLASSES if label else None, weight)


def batch_of(case):
    if case.stage == 1:
        return Batch(clouds(1, True), clouds(2, False))
    # a cloud without weight has no gradient of its own in the shared backward pass
    third = 0.75 if case.fields.get("saliency__mode") == "shared" else 0.0
    return Batch(clouds(1, True), clouds(2, True, np.array([1.0, 0.25, third, 0.5])))


def random_tree(shapes):
    """Parameters of both signs, norms' scales too, and running statistics that are not those of a start."""
    rng = np.random.default_rng(5)
    return {
        "params": jax.tree.map(lambda leaf: rng.normal(scale=0.4, size=leaf.shape), shapes["params"]),
        "batch_stats": jax.tree.map(lambda leaf: rng.uniform(0.5, 2, leaf.shape), shapes["batch_stats"]),
    }


def as_type(tree, dtype):
    """Floating leaves to `dtype`, labels to int32."""
    return jax.tree.map(lambda x: x.astype(dtype if x.dtype.kind == "f" else np.int32), tree)


class Case(NamedTuple):
    encoder: str
    stage: int
    fields: dict


CASES = {
    "dgcnn, stage 1, shared": Case("dgcnn", 1, {"saliency__mode": "shared"}),
    "dgcnn with T-Net, stage 2, per sample": Case("dgcnn", 2, {"encoder__input_tnet": True}),
    "dgcnn, stage 2, gather, high, adamw": Case(
        "dgcnn",
        2,
        {
            "selection__scope": "per_domain",
            "selection__execution": "gather",
            "selection__side": "high",
            "optimizer__name": "adamw",
            "optimizer__schedule": "one_cycle",
        },
    ),
    "pointnet, stage 2, shared, kept": Case(
        "pointnet", 2, {"saliency__mode": "shared", "selection__denominator": "kept"}
    ),
    "pointnet, stage 1, gather, per sample": Case(
        "pointnet",
        1,
        {
            "selection__scope": "per_domain",
            "selection__execution": "gather",
            "encoder__input_tnet": False,
            "encoder__feature_tnet": False,
        },
    ),
}


@functools.cache
def start(name):
    """(configuration, parts with an optimizer that remembers its last gradient, variables)."""
    case = CASES[name]
    config = small(case.encoder, case.fields)
    parts = build_parts(config, case.stage, CLASSES)
    remember = optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda gradient, state, params: (gradient,) * 2
    )
    parts = parts._replace(optimizer=optax.chain(remember, parts.optimizer))
    shapes = jax.eval_shape(functools.partial(init_state, parts), jax.random.key(0)).variables
    return config, parts, random_tree(shapes)


def deform_library(original, order, key, points, min_points, variance):
    """A deformation without randomness; nowhere do two points coincide."""
    deformed, mask = original(jnp.asarray(ORDER), key, points, min_points, 0.0)
    return jnp.where(mask[:, None], deformed + 0.1 * points, points), mask


def deform_reference(points):
    deformed, mask = torch_deform.deform_vectorised(points, 3, 0.0, ORDER)
    return torch.where(mask[:, :, None], deformed + 0.1 * points, points), mask


@pytest.mark.parametrize("side", ["low", "high"])
def test_both_rank_what_is_not_finite_alike(side):
    scores = np.array([np.nan, np.inf, 0, 1, -np.inf, np.nan, 0, -1], np.float32)
    for count in range(1, 9):
        mine = torch_keep_mask(torch.tensor(scores), count / 8, side)
        np.testing.assert_array_equal(mine, keep_mask(jnp.asarray(scores), count / 8, side))


def recording_select(selection, samples, batch, key, scores=None):
    """As `select`, with what it saw among the metrics."""
    both, record = select_samples(selection, samples, batch, key, scores)
    for domain, sample, keep in zip(both._fields, samples, both, strict=True):
        if sample is not None:
            record |= {
                f"{domain}/map": sample.saliency,
                f"{domain}/scores": score_samples(selection.score, sample),
            }
        record[f"{domain}/keep"] = keep
    return both, record


class Step(NamedTuple):
    """What is compared after each update."""

    losses: dict
    maps: list
    scores: list
    keep: list
    gradients: dict
    variables: dict


@functools.cache
def of_library(name, dtype, steps):
    _, parts, variables = start(name)
    with jax.enable_x64(dtype == np.float64), pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "deform_voxel", functools.partial(deform_library, regions.deform_voxel))
        patch.setattr(train_step, "select", recording_select)
        variables = jax.tree.map(jnp.asarray, as_type(variables, dtype))
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            key=jax.random.key(0),
            variables=variables,
            opt_state=parts.optimizer.init(variables["params"]),
            pretext=(),
            combine=parts.combine.init(variables["params"]["encoder"], parts.tasks),
        )
        batch = jax.tree.map(jnp.asarray, as_type(batch_of(CASES[name]), dtype))
        step = jax.jit(functools.partial(train_step.train_step, parts), compiler_options=QUICK)
        found = []
        for _ in range(steps):
            state, metrics = step(state, batch)
            state_now, metrics = jax.device_get((state, metrics))
            domains = [d for d in ("source", "target") if f"selection/{d}/map" in metrics]
            found.append(
                Step(
                    # the parameters are compared themselves
                    losses={k: v for k, v in metrics.items() if v.ndim == 0 and not OURS.search(k)},
                    maps=[metrics[f"selection/{d}/map"] for d in domains],
                    scores=[metrics[f"selection/{d}/scores"] for d in domains],
                    keep=[metrics[f"selection/{d}/keep"] for d in ("source", "target")],
                    gradients=state_now.opt_state[0],
                    variables=state_now.variables,
                )
            )
    return found


def of_reference(name, dtype, steps, **options):
    config, _, variables = start(name)
    case = CASES[name]
    made = reference.make_step(
        config,
        CLASSES,
        as_type(variables, dtype),
        stage=case.stage,
        dtype=torch.float64 if dtype == np.float64 else torch.float32,
        deform=deform_reference,
        **options,
    )
    found = []
    for _ in range(steps):
        metrics = made.step(as_type(batch_of(case), dtype))
        measured = [m for m in made.measured if m is not None]
        found.append(
            Step(
                losses={k: v.numpy() for k, v in metrics.items()},
                maps=[m.saliency.numpy() for m in measured],
                scores=[m.score.numpy() for m in measured],
                keep=[k.numpy() for k in made.kept],
                gradients=made.gradients(),
                variables=made.variables(),
            )
        )
    return found


def assert_trees_close(found, expected, rtol, atol, floor=1e-3):
    """`atol` in units of the leaf's largest entry, or of `floor` times the tree's where that is larger."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    for (path, wanted), leaf in zip(
        jax.tree_util.tree_flatten_with_path(expected)[0], jax.tree.leaves(found), strict=True
    ):
        scale = max(float(np.abs(wanted).max()), floor * float(largest))
        np.testing.assert_allclose(leaf, wanted, rtol=rtol, atol=atol * scale, err_msg=str(path))


def assert_same_measures(found, expected, rtol, atol, floor=1e-3):
    assert found.losses.keys() == expected.losses.keys()
    assert_trees_close(found.losses, expected.losses, rtol, atol)
    assert_trees_close(found.maps, expected.maps, rtol, atol)
    assert_trees_close(found.scores, expected.scores, rtol, atol)
    for mine, theirs in zip(found.keep, expected.keep, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert_trees_close(found.gradients, expected.gradients, rtol, atol, floor)
    assert_trees_close(found.variables["batch_stats"], expected.variables["batch_stats"], rtol, atol)


@pytest.mark.parametrize("factorised", [False, True], ids=["eager", "factorised"])
@pytest.mark.parametrize("name", cases(CASES, "dgcnn, stage 2, gather, high, adamw"))
def test_several_steps_in_float64(name, factorised):
    expected = of_library(name, np.float64, STEPS)
    for mine, theirs in zip(
        of_reference(name, np.float64, STEPS, factorised=factorised), expected, strict=True
    ):
        assert_same_measures(mine, theirs, rtol=1e-8, atol=1e-9)
        assert_trees_close(mine.variables["params"], theirs.variables["params"], rtol=1e-8, atol=1e-9)
    assert 0 < expected[0].keep[0].sum() < BATCH


@pytest.mark.parametrize("factorised", [False, True], ids=["eager", "factorised"])
@pytest.mark.parametrize(
    "name",
    cases(["dgcnn, stage 1, shared", "pointnet, stage 1, gather, per sample"], "dgcnn, stage 1, shared"),
)
def test_one_step_in_float32(name, factorised):
    (expected,) = of_library(name, np.float32, 1)
    (mine,) = of_reference(name, np.float32, 1, factorised=factorised)
    # the gradient of a bias before a norm is 0 but for rounding, which is that of the terms it sums
    assert_same_measures(mine, expected, rtol=1e-4, atol=1e-4, floor=1e-2)
    # Adam's first update is the sign of the gradient: compared where that is not rounding
    before = as_type(start(name)[2], np.float32)["params"]
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected.gradients))
    for old, new, wanted, gradient in zip(
        *map(
            jax.tree.leaves,
            (before, mine.variables["params"], expected.variables["params"], expected.gradients),
        ),
        strict=True,
    ):
        certain = np.abs(gradient) > 1e-3 * largest
        np.testing.assert_allclose((new - old)[certain], (wanted - old)[certain], rtol=1e-2, atol=1e-6)


def test_inference_by_running_statistics():
    config, parts, variables = start("dgcnn with T-Net, stage 2, per sample")
    variables = as_type(variables, np.float32)
    points = np.float32(batch_of(CASES["dgcnn, stage 1, shared"]).source.points)
    expected = jax.jit(lambda v, p: predict(parts.network, v, p)[0], compiler_options=QUICK)(
        variables, points
    )
    for factorised in (False, True):
        made = reference.make_step(config, CLASSES, variables, factorised=factorised)
        np.testing.assert_allclose(made.predict(points), expected, rtol=1e-4, atol=1e-4)


def test_without_selection_all_samples_take_part_and_the_own_deformation_is_finite():
    config, _, variables = start("dgcnn, stage 1, shared")
    config = config.copy_and_resolve_references()
    config.selection.statistic, config.classification.dropout, config.pretext.dropout = "none", 0.5, 0.5
    for factorised in (False, True):
        made = reference.make_step(config, CLASSES, as_type(variables, np.float32), factorised=factorised)
        metrics = made.step(as_type(batch_of(CASES["dgcnn, stage 1, shared"]), np.float32))
        assert metrics["selection/kept_source"] == metrics["selection/kept_target"] == 1
        assert "selection/source/score" not in metrics and made.measured == [None, None]
        assert all(map(torch.isfinite, metrics.values())) and metrics["loss/pretext"] > 0


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "constant"])
def test_learning_rates(schedule):
    expected, found = learning_rate_schedule(schedule, 2.0, 10), learning_rate(schedule, 10)
    np.testing.assert_allclose(
        [2 * found(i) for i in range(12)], [expected(i) for i in range(12)], rtol=1e-5, atol=1e-7
    )


def test_the_momentum_of_one_cycle():
    expected, found = momentum_cycle(10), momentum("one_cycle", 10)
    np.testing.assert_allclose([found(i) for i in range(11)], [expected(i) for i in range(11)], rtol=1e-6)
    assert momentum("cosine", 10)(5) == 0.9


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encoder.name", "kpconv"),
        ("pretext.name", "none"),
        ("selection.statistic", "random"),
        ("classification.mixup", "pcm"),
        ("combine.name", "pcgrad"),
        ("optimizer.schedule", "waves"),
        ("stage2.pretext", False),
    ],
)
def test_refusals_are_one_line_and_name_the_field(field, value):
    config, _, variables = start("dgcnn, stage 1, shared")
    config = config.copy_and_resolve_references()
    section, name = field.split(".")
    config[section][name] = value
    with pytest.raises(ValueError, match=f"config.{field} = {value!r}: the reference has ") as error:
        reference.make_step(config, CLASSES, variables)
    assert "\n" not in str(error.value)
