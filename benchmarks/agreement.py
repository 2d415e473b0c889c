"""Whether two devices compute the same: one step from the same weights on the same clouds."""

import functools
from typing import Any

import jax
import numpy as np

from benchmarks.contenders import CLASSES, CONTENDERS, Setting, config_of, random_batch
from smdsb_jax.augment import augment_batch
from smdsb_jax.build import build_parts, init_state
from smdsb_jax.markdown import markdown_table
from smdsb_jax.parts import Parts
from smdsb_jax.selection import keep_mask, score_samples
from smdsb_jax.state import Batch, Pair, TrainState
from smdsb_jax.train_step import measure, train_step

NAME = "jax mask per_sample"  # the library's default
# Of a quantity's largest value, in float32. Sums run in another order on another device.
TOLERANCE = {"losses": 1e-3, "saliency": 1e-2, "scores": 1e-2, "kept": 0.0, "statistics": 1e-3, "update": 0.1}


def quantities(parts: Parts, state: TrainState, batch: Batch) -> dict[str, Any]:
    """What one step finds out and changes, by name.

    The update is that of the first step of Adam, the sign of the gradient: where a gradient is rounding, so
    is its sign. It is therefore compared in the mean, everything else entry by entry.
    """
    assert parts.selection is not None
    augmented = augment_batch(parts.augment, state.key, batch)
    source = measure(parts, state.variables, state.key, augmented, Pair(None, None), None).source
    scores = score_samples(parts.selection.score, source)
    new, metrics = train_step(parts, state, batch)
    before = state.variables["params"]
    return {
        "losses": {name: value for name, value in metrics.items() if name.startswith(("loss", "pretext"))},
        "saliency": source.saliency,
        "scores": scores,
        "kept": keep_mask(scores, parts.selection.keep_ratio, parts.selection.side),
        "statistics": new.variables["batch_stats"],
        "update": jax.tree.map(lambda a, b: a - b, new.variables["params"], before),
    }


def on_device(device: Any, setting: Setting) -> dict[str, Any]:
    """`quantities` as computed by one device, in numpy."""
    parts = build_parts(config_of(setting, CONTENDERS[NAME]), setting.stage, CLASSES)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        state = jax.jit(functools.partial(init_state, parts))(jax.random.key(0))
    placed = jax.device_put((state, random_batch(setting)), device)
    with jax.default_matmul_precision(setting.precision):
        return jax.device_get(jax.jit(functools.partial(quantities, parts))(*placed))


def differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, float]:
    """Per quantity the largest (`update`: the mean) difference, relative to the largest entry."""
    found = {}
    for name in first:
        leaves = [
            tuple(np.asarray(leaf, np.float64) for leaf in pair)
            for pair in zip(jax.tree.leaves(first[name]), jax.tree.leaves(second[name]), strict=True)
        ]
        summary = np.mean if name == "update" else np.max
        difference = max(float(summary(np.abs(a - b))) for a, b in leaves)
        found[name] = difference / max(float(np.abs(a).max()) for a, _ in leaves)
    return found


def agreement_table(found: dict[str, float]) -> str:
    """A row per quantity, with what is allowed."""
    rows = [
        [name, f"{value:.1e}", f"{TOLERANCE[name]:g}", "yes" if agrees(name, value) else "NO"]
        for name, value in found.items()
    ]
    return markdown_table(["quantity", "difference, relative", "allowed", "agrees"], rows)


def agrees(name: str, difference: float) -> bool:
    """Whether a difference is within its tolerance; NaN is not."""
    return difference <= TOLERANCE[name]
