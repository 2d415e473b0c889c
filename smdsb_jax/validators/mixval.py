"""Whether a cloud that is mixed with another is still classified by its larger part."""

import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.augment import join, spread_order
from smdsb_jax.validators.base import Evidence

SHARE = 0.55  # of the cloud's own points: the paper's


def mixval(evidence: Evidence) -> float:
    """Accuracy on mixed clouds under the class predicted for their larger part, 0 … 1.

    The mean of pairs of the same and of different predicted classes. Both parts are farthest point samplings,
    as in point cloud mixup: points of a set cannot be averaged. The pairs are drawn once for all evaluations.
    [MixVal; Hu et al., NeurIPS 2023]
    """
    predicted = np.asarray(evidence.target.logits).argmax(axis=-1)
    partner = np.random.default_rng(0).permutation(len(predicted))
    mixed = np.asarray(_mix(jnp.asarray(evidence.target_points), jnp.asarray(partner)))
    right = np.asarray(evidence.predict(mixed).logits).argmax(axis=-1) == predicted
    same = predicted == predicted[partner]
    return float(np.mean([right[of].mean() for of in (same, ~same) if of.any()]))


@jax.jit
def _mix(points: jax.Array, partner: jax.Array) -> jax.Array:
    spread, _ = spread_order(jax.random.key(0), points)
    return join(spread, spread[partner], jnp.asarray(SHARE, points.dtype))
