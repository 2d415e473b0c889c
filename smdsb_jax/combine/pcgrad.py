"""PCGrad: each task's gradient loses its component against another task's."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.combine.algebra import divide
from smdsb_jax.combine.base import Combine
from smdsb_jax.combine.weights import by_gram


def pcgrad(*, protect_main: bool = False) -> Combine:
    """G = Σ_i p_i; p_i = g_i with, for each j ≠ i, its part along g_j removed where p_i · g_j < 0.

    The projections use the original g_j, all encoder parameters as one vector. The others are visited in a
    random order, which matters from three tasks on.   [Yu et al., arXiv:2001.06782, Algorithm 1]

    Args:
      protect_main: the classification's gradient stays as it is, and the others lose their part against it
        alone, as MetaBalance's repository has it for auxiliary tasks (there of each tensor by itself).
    """

    def weights_of(
        key: jax.Array, gram: Float[Array, "t t"], present: Bool[Array, " t"]
    ) -> Float[Array, " t"]:
        del present
        if protect_main:
            return jnp.ones(len(gram)).at[0].add(-jnp.sum(divide(jnp.minimum(gram[1:, 0], 0.0), gram[0, 0])))
        keys = jax.random.split(key, len(gram))
        return jnp.sum(
            projected(gram, jax.vmap(lambda k: jax.random.permutation(k, len(gram)))(keys)), axis=0
        )

    return by_gram(weights_of)


def projected(gram: Float[Array, "t t"], orders: Int[Array, "t t"]) -> Float[Array, "t t"]:
    """Row i: the weights of the gradients in p_i, which visits the others in the order of row i."""

    def project(own: Float[Array, " t"], order: Int[Array, " t"]) -> Float[Array, " t"]:
        def remove_conflict(
            weights: Float[Array, " t"], j: Int[Array, ""]
        ) -> tuple[Float[Array, " t"], None]:
            share = divide(jnp.minimum(gram[j] @ weights, 0.0), gram[j, j])
            return weights.at[j].add(-jnp.where(own[j] > 0, 0.0, share)), None

        return jax.lax.scan(remove_conflict, own, order)[0]

    return jax.vmap(project)(jnp.eye(len(gram), dtype=gram.dtype), orders)
