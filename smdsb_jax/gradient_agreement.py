"""Measures of agreement between a sample's pretext gradient and the gradients that it joins; high is good.

All from inner products, in float64. s is a sample's pretext gradient as if the whole batch were copies of
it (`unit`), g_c the classification gradient, g_o that of the target under its true labels, which nobody has
in training, and g = g_c + g_s what the step follows. Conflict is minus the measure.
"""

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, " n"]


def cosine(
    product: Values | float, squared_a: Values | float, squared_b: Values | float
) -> Float[np.ndarray, "*n"]:
    """A · b / (|a| |b|); 0 where one of them is the zero vector."""
    scale = np.sqrt(np.asarray(squared_a, np.float64) * squared_b)
    product = np.asarray(product, np.float64)
    return np.where(scale > 0, product / np.where(scale > 0, scale, 1.0), 0.0)


def gain(
    s_oracle: Values,
    s_class: Values,
    s_squared: Values,
    class_oracle: float,
    class_squared: float,
    oracle_squared: float,
) -> Values:
    """cos(g_c + s, g_o) - cos(g_c, g_o): what the sample does to the direction of the classification step.

    [SM-DSB, arXiv:2504.15796, Fig. 1, of one sample instead of the batch]. It knows no length: a sample can
    gain by shortening a harmful part of g_c.
    """
    together = class_squared + 2 * s_class + s_squared
    return cosine(class_oracle + s_oracle, np.maximum(together, 0), oracle_squared) - cosine(
        class_oracle, class_squared, oracle_squared
    )


def leave_one_out(
    s_oracle: Values,
    s_total: Values,
    s_squared: Values,
    total_oracle: float,
    total_squared: float,
    oracle_squared: float,
) -> Values:
    """cos(g, g_o) - cos(g - s, g_o), s being what the sample contributed to g: its gradient / batch."""
    without = total_squared - 2 * s_total + s_squared
    return cosine(total_oracle, total_squared, oracle_squared) - cosine(
        total_oracle - s_oracle, np.maximum(without, 0), oracle_squared
    )


def leave_one_out_first_order(
    s_oracle: Values, s_total: Values, total_oracle: float, total_squared: float, oracle_squared: float
) -> Values:
    """The part of `leave_one_out` that is linear in s: (s·g_o - (g·g_o / |g|^2) s·g) / (|g| |g_o|)."""
    scale = np.sqrt(total_squared * oracle_squared)
    if scale == 0:
        return np.zeros_like(s_oracle)
    return (s_oracle - total_oracle / total_squared * s_total) / scale
