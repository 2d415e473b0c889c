import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.pseudo_labels import Evidence
from smdsb_jax.pseudo_labels.graph import graph, most_confident, propagate, similar, train_graph_network
from smdsb_jax.state import Predictions

KEY = jax.random.key(0)


def clusters(clouds=60, wrong=6):
    """Three tight clusters of embeddings; the network mistakes some clouds, and is less sure of those."""
    rng = np.random.default_rng(0)
    true = np.arange(clouds) % 3
    embedding = rng.normal(size=(3, 16))[true] + 0.02 * rng.normal(size=(clouds, 16))
    said = true.copy()
    said[:wrong] = (said[:wrong] + 1) % 3
    logits = np.where(np.arange(clouds) < wrong, 1.0, 4.0)[:, None] * np.eye(3)[said]
    return Predictions(jnp.asarray(logits, jnp.float32), jnp.asarray(embedding, jnp.float32)), true


def test_edges_are_the_most_correlated_above_the_bar():
    rng = np.random.default_rng(1)
    embedding = rng.normal(size=(40, 6)).astype(np.float32)
    edges, joined = similar(jnp.asarray(embedding), 0.5, 10)
    expected = np.corrcoef(embedding)
    for i in range(40):
        best = set(np.argsort(-expected[i])[:10])
        found = set(np.asarray(edges[i])[np.asarray(joined[i])])
        assert i in found and found == {j for j in best if expected[i, j] > 0.5} | {i}


def test_orthogonal_embeddings_have_their_own_edges_only():
    hadamard = jnp.array([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])  # centered and orthogonal
    edges, joined = similar(hadamard, 0.95, 10)
    np.testing.assert_array_equal(jnp.sum(joined, axis=1), [1, 1, 1])
    np.testing.assert_array_equal(edges[joined], [0, 1, 2])


def test_a_constant_embedding_is_joined_to_itself_without_nan():
    edges, joined = similar(jnp.ones((3, 4)), 0.95, 10)
    np.testing.assert_array_equal(edges[joined], [0, 1, 2])


def test_propagation_is_the_normalized_adjacency():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(12, 5)).astype(np.float32)
    edges, joined = similar(jnp.asarray(rng.normal(size=(12, 3)), jnp.float32), 0.3, 4)
    adjacency = np.zeros((12, 12))  # [to, from]
    for i in range(12):
        for j, is_edge in zip(edges[i], joined[i], strict=True):
            adjacency[j, i] += is_edge
    degree = np.diag(adjacency.sum(axis=1) ** -0.5)
    expected = degree @ adjacency @ degree @ x
    np.testing.assert_allclose(propagate(jnp.asarray(x), edges, joined), expected, rtol=2e-5, atol=1e-6)


def test_the_kept_of_each_class_are_those_at_the_published_place():
    confidence = jnp.linspace(0.1, 0.9, 41)
    label = jnp.concatenate([jnp.zeros(40, jnp.int32), jnp.ones(1, jnp.int32)])
    kept = most_confident(label, confidence, jnp.asarray(0.05), 3)  # epoch 5 of 100; class 2 has none
    assert kept[:40].sum() == 2 and kept[38] and kept[39]
    assert kept[40]  # one sample: place min(round(0.95), 0)
    assert most_confident(label, confidence, jnp.asarray(1.0), 3).all()


def test_it_mends_what_the_neighbors_say():
    predictions, true = clusters()
    assert (np.argmax(predictions.logits, axis=1) != true).sum() == 6
    edges, joined = similar(predictions.embedding, 0.95, 10)
    logits = train_graph_network(KEY, predictions, edges, joined, 100)
    np.testing.assert_array_equal(jnp.argmax(logits, axis=1), true)


def test_labels_taken_once_keep_their_weight():
    predictions, true = clusters()
    rule = graph(iterations=60)
    labels = rule.assign(KEY, Evidence(predictions))
    np.testing.assert_allclose(labels.weight, 0.2)
    after = rule.refine(KEY, labels, Evidence(predictions), jnp.asarray(0.5))
    sure = np.asarray(after.weight) == 1
    assert 25 <= sure.sum() <= 40 and set(np.unique(after.weight)) == {np.float32(0.2), 1.0}
    np.testing.assert_array_equal(np.asarray(after.label)[sure], true[sure])
    np.testing.assert_array_equal(np.asarray(after.label)[~sure], np.asarray(labels.label)[~sure])
    later = rule.refine(jax.random.key(1), after, Evidence(predictions), jnp.asarray(0.05))
    assert (np.asarray(later.weight)[sure] == 1).all()  # for good


@pytest.mark.parametrize(
    "option",
    [{"unsure_weight": -0.1}, {"correlation": 2.0}, {"degree": 0}, {"iterations": 0}, {"refinements": -1}],
)
def test_impossible_options_are_refused(option):
    with pytest.raises(ValueError, match=rf"config\.pseudo_labels\.{next(iter(option))}"):
        graph(**option)
