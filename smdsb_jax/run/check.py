"""What only a try can tell, before any file is made: do the parts fit, does the statistic score a sample?"""

import functools
from pathlib import Path
from traceback import extract_tb
from typing import Any

import jax
import jax.numpy as jnp

import smdsb_jax
from smdsb_jax.build import init_state
from smdsb_jax.config import Config
from smdsb_jax.network import predict
from smdsb_jax.parts import Parts
from smdsb_jax.run.first_nan import LIBRARIES
from smdsb_jax.selection import Selection, score_samples
from smdsb_jax.state import Sample


def check_parts(config: Config, parts: Parts) -> None:
    """Trace a stage's first state and the scores of two samples; nothing is computed.

    Raises:
      ValueError: an option that does not fit the network, or a statistic that raises or returns no number;
        one line.
    """
    state = jax.eval_shape(functools.partial(init_state, parts), jax.random.key(0))
    if parts.selection is not None:
        sample = functools.partial(_samples, parts, parts.selection, config.data.points)
        samples = jax.eval_shape(sample, state.variables)
        _check_statistic(config.selection.statistic, parts.selection, samples)


def _samples(parts: Parts, selection: Selection, count: int, variables: Any) -> Sample:
    key, loss, points = jax.random.key(0), jnp.zeros(2), jnp.zeros((2, count, 3))
    output, features, _ = predict(parts.network, variables, points, key, train=False)
    logits = parts.network.task.logits(output)
    label = jnp.zeros(logits.shape[:-1], jnp.int32)
    pretext_loss = loss if selection.needs_pretext else None
    keys = jax.random.split(key)
    return Sample(points, points, points[..., 0], features.embedding, logits, loss, label, keys, pretext_loss)


def _check_statistic(name: str, selection: Selection, samples: Sample) -> None:
    try:
        jax.eval_shape(functools.partial(score_samples, selection.score), samples)
    except Exception as error:  # code of a user may raise anything
        said = (str(error).splitlines() or [""])[0]
        raised = said if isinstance(error, ValueError) else f"{type(error).__name__}: {said}"
        told = [f"config.selection.statistic = {name!r} cannot score a sample{_place(error)}. {raised}"]
        remedy = next((words for kind, words in REMEDIES.items() if isinstance(error, kind)), "")
        raise ValueError(" ".join([*told, *([remedy] if remedy else [])])) from error


REMEDIES: dict[type[Exception], str] = {
    jax.errors.ConcretizationTypeError: "No value is known while jax traces it: take jnp.where(a, b, "
    "c) in place of `if`, and no float() or int() of an array.",
    jax.errors.TracerArrayConversionError: "Take jax.numpy in place of numpy.",
}


def _place(error: Exception) -> str:
    """` at FILE:LINE (FUNCTION)`: the innermost line that is neither a library's nor ours."""
    others = (*LIBRARIES, str(Path(smdsb_jax.__file__).parent))
    frames = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith(others)]
    if not frames:
        return ""
    path, here = Path(frames[-1].filename), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f" at {shown}:{frames[-1].lineno} ({frames[-1].name})"
