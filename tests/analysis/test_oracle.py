import numpy as np

from smdsb_jax.analysis.oracle import REFERENCES, reference_scores


def test_each_reference_is_a_measure_of_which_high_values_are_kept():
    measures = {name: np.full(3, float(value)) for value, name in enumerate(("gain", "cos_o", "cos_c"))}
    found = reference_scores(measures)
    assert {name: scores[0] for name, scores in found.items()} == {"oracle: cos_o": 1, "reference: cos_c": 2}
    assert found.keys() == REFERENCES.keys() and set(REFERENCES.values()) == {"high"}
