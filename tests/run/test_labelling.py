import jax
import jax.numpy as jnp
import numpy as np

from smdsb_jax.pseudo_labels import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.run.labelling import describe, refine, refinement_steps
from smdsb_jax.state import Predictions

LABELS = PseudoLabels(jnp.array([0, 1, 1]), jnp.array([1.0, 0.0, 1.0]), jnp.array([0.9, 0.5, 0.7]))


def rule(refinements):
    def told(key, labels, evidence, progress):
        return labels._replace(confidence=jnp.stack([progress, jax.random.uniform(key), jnp.ones(())]))

    return PseudoLabelRule(lambda key, evidence: LABELS, told, refinements)


def test_refinements_are_evenly_spaced_and_never_at_the_start_or_the_end():
    assert refinement_steps(rule(3), 100) == {25: 1, 50: 2, 75: 3}
    assert refinement_steps(rule(19), 40_000) == {2000 * n: n for n in range(1, 20)}  # every 5 of 100 epochs
    assert refinement_steps(rule(0), 100) == {}
    few = refinement_steps(rule(19), 4)
    assert list(few) == [1, 2, 3, 4] and few[4] == 19


def test_progress_and_randomness_are_those_of_the_number():
    evidence = Evidence(Predictions(jnp.zeros((3, 2)), jnp.zeros((3, 4))))
    found = [
        refine(rule(4), jax.random.key(s), LABELS, evidence, n).confidence
        for s, n in ((0, 1), (0, 1), (0, 2), (1, 2))
    ]
    np.testing.assert_allclose([c[0] for c in found], [0.2, 0.2, 0.4, 0.4], rtol=1e-6)
    assert found[0][1] == found[1][1] and len({float(c[1]) for c in found}) == 3


def test_the_line_counts_the_used_labels_alone():
    line = describe(LABELS, np.array([0, 1, 0]))
    assert "2 of 3 target clouds" in line and "50.0 % are right" in line
    assert "none yet; of 3 target clouds the surest has confidence 0.90" in describe(
        LABELS._replace(weight=jnp.zeros(3)), np.array([0, 1, 0])
    )


def test_labels_of_points_are_told_as_such():
    labels = PseudoLabels(jnp.zeros((1, 3), jnp.int32), jnp.ones((1, 3)), jnp.full((1, 3), 0.5))
    assert "3 of 3 target points, mean confidence 0.50; 66.7 % are right" in describe(
        labels, np.array([[0, 1, 0]])
    )
