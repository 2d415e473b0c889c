"""PCFEA: source features in the target's style, and prototypes of domains between source and target."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from smdsb_jax.network import Passes, Train
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.pretext.memory import class_means, empty_memory, remember, surest_of_classes
from smdsb_jax.registry import check_counts, check_range
from smdsb_jax.state import Features, Pair, Tree, Variables
from smdsb_jax.tasks import cross_entropy


class Prepared(NamedTuple):
    """The clouds of the classification pass, the source's labels, and the progress of the stage."""

    points: Float[Array, "batch n 3"]
    label: Int[Array, " batch"] | None  # None: of the target
    progress: Float[Array, " batch"]  # the same for all


def pcfea(
    *,
    strength: float = 0.25,
    temperature: float = 2.0,
    style_weight: float = 1.0,
    prototype_weight: float = 1.0,
    warm_up: float = 0.1,
    memory: int = 2048,
) -> Pretext:
    """Progressive adaptation of classifier and encoder   [PCFEA, Wang et al., ECCV 2024, arXiv:2311.16474].

    A memory per domain holds the embeddings of the clouds seen last, by the network in inference mode, their
    labels (the target's: predictions) and largest probabilities. The pool, a domain in between, has of each
    class the surest share 1 - a of the source's memory and a of the target's; a goes from 0 to 1 after the
    warm-up. With t the share of the stage done, z a cloud's logits, u those of an embedding in memory:

    - `style`, of the source: CE(z', y) - CE(z, y), z'_j = z_j + m_j + λ v_j / 2 with λ = `strength` · t. m_j
      is the mean of u_j - u_y over the pool's class y minus that over the source's, v_j its variance over the
      pool's. The classification loss, of the same weight, is replaced so: its sum with `style` is CE(z', y).
      With a linear head of rows w, v_j = (w_j - w_y)' Σ (w_j - w_y), and CE(z', y) bounds the expected
      cross-entropy of the embedding + N(shift of the class's mean, λ Σ).
    - `prototype`, of both: CE(cosines with the pool's class means / τ, y); of the target y is argmax z.

    The paper's text was not at hand: this is what its release computes, but that there the target's clouds
    are in the pool with their *true* labels; the pool is made anew, of all training clouds, in every tenth of
    100 epochs (in its logs every fifth); and a class that the pool lacks has the mean 0, here neither loss
    nor shift. Its head is linear (`config.task.head`); m and v are there of any.

    Args:
      strength: of the variance, at the end.
      temperature: τ, of the cosines.
      style_weight: of `style`.
      prototype_weight: of `prototype`, in either domain.
      warm_up: share of the stage without either loss.
      memory: embeddings of each domain; a tenth of what a stage sees, or fewer, keeps up with the network.

    Raises:
      ValueError: an option out of its range.
    """
    weights = {"strength": strength, "style_weight": style_weight, "prototype_weight": prototype_weight}
    for name, weight in weights.items():
        check_range(f"pretext.{name}", weight, 0, 1e6)
    check_range("pretext.temperature", temperature, 1e-3, 1e3)
    check_range("pretext.warm_up", warm_up, 0, 0.99)
    check_counts("pretext.memory", memory)

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del key, variables
        return {"params": {}, "batch_stats": empty_memory(memory, features.embedding.shape[-1])}, ()

    def prepare(view: View, key: jax.Array) -> Prepared:
        del key
        label = view.label if view.domain == "source" else None
        return Prepared(view.points, label, jnp.full(len(view.points), view.progress))

    def loss(
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Prepared,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> Losses:
        del state
        keys, (points, label, progress) = jax.random.split(key, 5), prepared
        features, after = passes.encode(variables, points, keys[0], train=train)
        logits, after = passes.head(after, features, keys[1], train=train)
        source, target = (variables["batch_stats"]["pretext"][domain] for domain in Pair._fields)
        both = jax.tree.map(lambda *halves: jnp.concatenate(halves), source, target)
        t, classes = progress[0], logits.shape[-1]
        a = jnp.clip((t - warm_up) / (1 - warm_up), 0, 1)
        pool = jnp.concatenate([surest_of_classes(*of, classes) for of in ((source, 1 - a), (target, a))])
        domain, said = ("target", jnp.argmax(logits, axis=-1)) if label is None else ("source", label)
        prototype = prototype_loss(features.embedding, said, both["embedding"], pool, temperature)
        losses = {"prototype": jnp.where(t < warm_up, 0, prototype_weight * prototype)}
        if label is not None:
            after = variables  # the class pass has recorded the statistics of these clouds
            stored, _ = passes.head(variables, Features(both["embedding"], ()), keys[2], train=False)
            every = jax.nn.one_hot(source["label"], classes)
            shift, variance = margin_moments(stored, both["label"], pool, every)
            styled = logits + (shift + strength * t * variance / 2)[label]
            style = cross_entropy(styled, label) - cross_entropy(logits, label)
            losses["style"] = jnp.where(t < warm_up, 0, style_weight * style)
        if train:
            seen, _ = passes.encode(variables, points, keys[3], train=False)
            probability = jax.nn.softmax(passes.head(variables, seen, keys[4], train=False)[0])
            known = jnp.argmax(probability, axis=-1) if label is None else label
            after = remember(after, domain, seen.embedding, known, jnp.max(probability, axis=-1))
        return Losses(losses, after)

    return Pretext(init, prepare, loss, ("style", "prototype"), per_cloud=True)


def margin_moments(
    logits: Float[Array, "m classes"],
    label: Int[Array, " m"],
    pool: Float[Array, "m classes"],
    source: Float[Array, "n classes"],
) -> tuple[Float[Array, "classes classes"], Float[Array, "classes classes"]]:
    """Of the margins u_j - u_y of class y [y, j]: the pool's mean minus the source's, the pool's variance.

    Members of the source are among the first n. The variance is biased; both are 0 of a class without any.
    """
    margin = logits - jnp.take_along_axis(logits, jnp.maximum(label, 0)[:, None], axis=1)
    mean = class_means(margin, pool)
    shift = mean - class_means(margin[: len(source)], source)
    there = jnp.any(pool > 0, axis=0) & jnp.any(source > 0, axis=0)
    return jnp.where(there[:, None], shift, 0), class_means((margin - mean[label]) ** 2, pool)


def prototype_loss(
    embedding: Float[Array, "batch d"],
    label: Int[Array, " batch"],
    stored: Float[Array, "m d"],
    pool: Float[Array, "m classes"],
    temperature: float,
) -> Float[Array, " batch"]:
    """CE(cosines with the classes' means / temperature, label), of those in the pool; 0 where it is not."""
    there = jnp.any(pool > 0, axis=0)
    cosine = optax.cosine_similarity(embedding[:, None], class_means(stored, pool)[None], epsilon=1e-8)
    loss = cross_entropy(jnp.where(there, cosine / temperature, -1e9), label)
    return jnp.where(there[label], loss, 0)
