"""GradNorm: learned weights that make the tasks' gradients equally long, and the slow tasks' longer."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from smdsb_jax.combine.algebra import ABSENT, divide, squared_norms
from smdsb_jax.combine.base import Combine, Merged, Tasks, Told
from smdsb_jax.combine.weights import first_losses, merge
from smdsb_jax.registry import check_counts, check_range, suggest
from smdsb_jax.state import Tree

LEAST = 1e-3  # that a weight or a loss counts as


def gradnorm(
    *,
    alpha: float = 1.5,
    learning_rate: float = 0.025,
    layer: str = "agg",
    initial_steps: int = 100,
    weight_heads: bool = False,
) -> Combine:
    """G = Σ_k w_k g_k; w descends on Σ_k |w_k ‖g_k‖ - t_k|, t_k = mean_j(w_j ‖g_j‖) r_k^α.

    r_k = (L_k / L_k(0)) / mean_j(L_j / L_j(0)) tells how slow a task is. The targets t are held constant, so
    the derivative is sign(w_k ‖g_k‖ - t_k) ‖g_k‖. A step of plain descent follows each merge; then w is at
    least 1e-3 and sums to the number of tasks. Constant weights of the losses, as `pretext.weight`, cancel in
    r, and w makes up for them in the norms.   [Chen et al., arXiv:1711.02257, Algorithm 1]

    Args:
      alpha: how much longer the gradients of slow tasks are to be; 1.5 in LibMTL.
      learning_rate: of w.
      layer: the encoder's parameters of which the norms are, by their first name; the last layer before
        pooling is `agg` in each encoder of the library. Empty: all parameters.
      initial_steps: L(0) is the mean loss of so many steps; w is 1 until then. 1: the first step, as
        published. The logarithm of the number of classes, another choice, is not known here.
      weight_heads: whether w weighs the heads too, as the paper's loss has it. LibMTL leaves them.

    Raises:
      ValueError: an option out of its range; by `init`, a layer that the encoder does not have.
    """
    check_range("combine.alpha", alpha, 0, 10)
    check_range("combine.learning_rate", learning_rate, 0, 10)
    check_counts("combine.initial_steps", initial_steps)

    def init(params: Tree, tasks: Tasks) -> Tree:
        if layer and layer not in params:
            raise ValueError(
                f"config.combine.layer = {layer!r} is no layer of the encoder.{suggest(layer, params)}"
            )
        zero = jnp.zeros(len(tasks))
        return {"weights": zero + 1, "first": zero, "steps": jnp.zeros(len(tasks), jnp.int32)}

    def update(key: jax.Array, gradients: tuple[Tree, ...], told: Told, state: Tree) -> Merged:
        del key
        present, w = squared_norms(gradients) > ABSENT, state["weights"]
        steps = state["steps"] + present
        first = first_losses(state["first"], told.losses, present, steps, initial_steps)
        norms = jnp.sqrt(squared_norms([g[layer] if layer else g for g in gradients]))
        learns = present & (steps > initial_steps)
        slope = jnp.sign(w * norms - targets(w * norms, told.losses, first, learns, alpha)) * norms
        stepped = jnp.where(learns, jnp.maximum(w - learning_rate * slope, LEAST), w)
        total = jnp.sum(jnp.where(learns, w, 0.0))  # of those that learn; the others' stay
        scaled = stepped * divide(total, jnp.sum(jnp.where(learns, stepped, 0.0)), otherwise=1.0)
        after = {"weights": jnp.where(learns, scaled, w), "first": first, "steps": steps}
        return merge(gradients, present, w, after, weight_heads)

    return Combine(init=init, update=update)


def targets(
    lengths: Float[Array, " t"],
    losses: Float[Array, " t"],
    first: Float[Array, " t"],
    counts: Bool[Array, " t"],
    alpha: float,
) -> Float[Array, " t"]:
    """What the weighed gradients' lengths are to be, of the tasks that count."""

    def mean(values: Float[Array, " t"]) -> Float[Array, ""]:
        return divide(jnp.sum(jnp.where(counts, values, 0.0)), 1.0 * jnp.sum(counts))

    left = jnp.maximum(losses, LEAST) / jnp.maximum(first, LEAST)
    return mean(lengths) * divide(left, mean(left), otherwise=1.0) ** alpha
