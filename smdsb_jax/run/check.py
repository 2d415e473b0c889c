"""Before any file is made: does the statistic score samples of the run's shapes?"""

import jax
import jax.numpy as jnp

from smdsb_jax.config import Config
from smdsb_jax.network import init_network, predict
from smdsb_jax.parts import Parts
from smdsb_jax.selection import score_samples
from smdsb_jax.state import Sample


def check_statistic(config: Config, parts: Parts, classes: int) -> None:
    """Trace the statistic; nothing is computed.

    Args:
      config: of the run.
      parts: of one of its stages.
      classes: of the data.

    Raises:
      ValueError: it raises, or does not return a number; one line that names it.
    """
    if parts.selection is None:
        return
    network, count = parts.network, config.data.points
    clouds = jax.ShapeDtypeStruct((2, count, 3), jnp.float32)
    labels = jax.ShapeDtypeStruct((2, *((count,) if network.task.per_point else ())), jnp.int32)

    def sample(points: jax.Array, label: jax.Array, key: jax.Array) -> Sample:
        variables = init_network(network, key, clouds)
        output, features, _ = predict(network, variables, points, key, train=False)
        loss, keys = jnp.zeros(2), jax.random.split(key)
        pretext_loss = loss if parts.selection is not None and parts.selection.needs_pretext else None
        logits = network.task.logits(output)
        return Sample(
            points, points, points[..., 0], features.embedding, logits, loss, label, keys, pretext_loss
        )

    score, name = parts.selection.score, config.selection.statistic
    samples = jax.eval_shape(sample, clouds, labels, jax.random.key(0))
    try:
        jax.eval_shape(lambda of: score_samples(score, of), samples)
    except Exception as error:  # code of a user may raise anything
        said = (str(error).splitlines() or [""])[0]
        raised = said if isinstance(error, ValueError) else f"{type(error).__name__}: {said}"
        raise ValueError(f"config.selection.statistic = {name!r} cannot score a sample. {raised}") from error
