"""Pseudo-labels refined by a graph network: clouds with similar embeddings should have one label."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from smdsb_jax.pseudo_labels.base import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.pseudo_labels.max_confidence import most_probable
from smdsb_jax.registry import check_range
from smdsb_jax.state import Predictions
from smdsb_jax.tasks import cross_entropy

HIDDEN_SCORES = 0.2  # share of the nodes whose class scores the graph network does not see, per iteration


def graph(
    *,
    unsure_weight: float = 0.2,
    correlation: float = 0.95,
    degree: int = 10,
    iterations: int = 1000,
    refinements: int = 19,
) -> PseudoLabelRule:
    """Refine labels by graph convolutions   [Self-distillation; Cardace et al., WACV 2023, arXiv:2210.08226].

    At each refinement a fresh graph network learns the network's own labels of all clouds; of each class that
    it predicts, the most confident `progress` take its label, and weigh 1 from then on.

    Args:
      unsure_weight: of labels that no refinement has taken yet.
      correlation: Pearson's, of two embeddings, above which their clouds are joined.
      degree: most edges that leave a cloud, its own among them.
      iterations: of the graph network's training, each time.
      refinements: evenly spaced within stage 2; 19 is every 5 of 100 epochs.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("pseudo_labels.unsure_weight", unsure_weight, 1e-6, 1)  # at 0 no label would be left
    check_range("pseudo_labels.correlation", correlation, -1, 1)
    check_range("pseudo_labels.degree", degree, 1, 1000)
    check_range("pseudo_labels.iterations", iterations, 1, 10**6)
    check_range("pseudo_labels.refinements", refinements, 0, 1000)

    def assign(key: jax.Array, evidence: Evidence) -> PseudoLabels:
        del key
        labels = most_probable(evidence.target)
        return labels._replace(weight=unsure_weight * labels.weight)

    def refine(
        key: jax.Array, labels: PseudoLabels, evidence: Evidence, progress: Float[Array, ""]
    ) -> PseudoLabels:
        target = evidence.target
        edges, joined = similar(target.embedding, correlation, degree)
        logits = train_graph_network(key, target, edges, joined, iterations)
        refined = most_probable(target._replace(logits=logits))
        sure = most_confident(refined.label, refined.confidence, progress, logits.shape[1])
        return PseudoLabels(
            jnp.where(sure, refined.label, labels.label),
            jnp.where(sure, 1.0, labels.weight),
            jnp.where(sure, refined.confidence, labels.confidence),
        )

    return PseudoLabelRule(assign, refine, refinements, per_cloud=True)


def similar(
    embedding: Float[Array, "clouds d"], correlation: float, degree: int
) -> tuple[Int[Array, "clouds degree"], Bool[Array, "clouds degree"]]:
    """The most correlated clouds of each, and which of them are joined to it: itself always.

    Memory grows with the number of clouds: the correlations of one block of them exist at a time.
    """
    clouds = embedding.shape[0]
    centered = embedding - jnp.mean(embedding, axis=1, keepdims=True)
    norm = jnp.linalg.norm(centered, axis=1, keepdims=True)
    unit = centered / jnp.where(norm > 0, norm, 1.0)

    def of_one(i: Int[Array, ""]) -> tuple[Array, Array]:
        found = jnp.where(jnp.arange(clouds) == i, jnp.inf, unit @ unit[i])
        edges = jax.lax.top_k(found, min(degree, clouds))[1]
        return edges, found[edges] > correlation

    return jax.lax.map(of_one, jnp.arange(clouds), batch_size=256)


class GraphNetwork(nn.Module):
    """Class scores and embeddings -> three graph convolutions -> logits; dropout 0.5 after the first two.

    A convolution is Kipf and Welling's (arXiv:1609.02907, Eq. 2) with the degrees of incoming edges.
    """

    classes: int

    @nn.compact
    def __call__(
        self,
        scores: Float[Array, "clouds classes"],
        embedding: Float[Array, "clouds d"],
        edges: Int[Array, "clouds degree"],
        joined: Bool[Array, "clouds degree"],
        *,
        train: bool,
    ) -> Float[Array, "clouds classes"]:
        """Logits of all clouds; `train` turns dropout on."""
        width = embedding.shape[1]
        dense = lambda features: nn.Dense(features, kernel_init=nn.initializers.he_uniform())  # noqa: E731
        h = embedding + dense(width)(scores)
        for _ in range(2):
            h = nn.relu(propagate(dense(width)(h), edges, joined))
            h = nn.Dropout(0.5)(h, deterministic=not train)
        return propagate(dense(self.classes)(h), edges, joined)


def propagate(
    x: Float[Array, "clouds c"], edges: Int[Array, "clouds degree"], joined: Bool[Array, "clouds degree"]
) -> Float[Array, "clouds c"]:
    """y_j = sum over edges i -> j of x_i / sqrt(d_i d_j), d being the numbers of incoming edges."""
    incoming = jnp.zeros(x.shape[0], x.dtype).at[edges].add(joined.astype(x.dtype))
    share = jax.lax.rsqrt(incoming)  # at least 1, a cloud's own
    total = jnp.zeros_like(x)
    for slot in range(edges.shape[1]):  # one edge of each cloud at a time, for memory
        to = edges[:, slot]
        weight = jnp.where(joined[:, slot], share * share[to], 0)
        total = total.at[to].add(weight[:, None] * x)
    return total


def train_graph_network(
    key: jax.Array,
    predictions: Predictions,
    edges: Int[Array, "clouds degree"],
    joined: Bool[Array, "clouds degree"],
    iterations: int,
) -> Float[Array, "clouds classes"]:
    """Logits of a fresh graph network that has learned the network's own most probable classes."""
    network = GraphNetwork(predictions.logits.shape[1])
    scores, label = jax.nn.softmax(predictions.logits, axis=-1), jnp.argmax(predictions.logits, axis=-1)
    init_key, train_key = jax.random.split(key)
    params = network.init(init_key, scores, predictions.embedding, edges, joined, train=False)
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.adam(1e-3))

    def iterate(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
        params, state = carry
        hide_key, dropout_key = jax.random.split(key)
        shown = jax.random.uniform(hide_key, label.shape) >= HIDDEN_SCORES

        def loss(params: dict) -> Float[Array, ""]:
            logits: Any = network.apply(
                params, shown[:, None] * scores, predictions.embedding, edges, joined, train=True,
                rngs={"dropout": dropout_key},
            )  # fmt: skip
            return jnp.mean(cross_entropy(logits, label))

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(train_key, iterations)
    (params, _), _ = jax.lax.scan(iterate, (params, optimizer.init(params)), keys)
    logits: Any = network.apply(params, scores, predictions.embedding, edges, joined, train=False)
    return logits


def most_confident(
    label: Int[Array, " clouds"], confidence: Float[Array, " clouds"], share: Float[Array, ""], classes: int
) -> Bool[Array, " clouds"]:
    """Of each class those with at least the confidence at place min(round(n (1 - share)), n - 1) of its n."""
    order = jnp.lexsort((confidence, label))
    count = jnp.zeros(classes, jnp.int32).at[label].add(1)
    first = jnp.cumsum(count) - count
    place = jnp.minimum(jnp.round(count * (1 - share)).astype(jnp.int32), count - 1)
    threshold = confidence[order][jnp.maximum(first + place, 0)]  # of a class that has none: not read
    return confidence >= threshold[label]
