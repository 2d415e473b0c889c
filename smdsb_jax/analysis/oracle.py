"""Rows to hold statistics against: scores that need gradients, or the target's true labels."""

import numpy as np
from jaxtyping import Float

# name → the side to keep
REFERENCES = {
    "reference: cos_c": "high",  # what a filter would see that takes each sample's own backward pass
    "oracle: cos_o": "high",  # the most that any score of one sample could tell
}


def reference_scores(measures: dict[str, Float[np.ndarray, " n"]]) -> dict[str, Float[np.ndarray, " n"]]:
    """The rows of REFERENCES, from measures of agreement."""
    return {name: measures[name.split(": ")[1]] for name in REFERENCES}
