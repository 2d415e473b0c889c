"""Additive noise models of two variables: whether x looks like the cause of y, or y like that of x.

effect = f(cause) + noise, and noise that does not depend on the cause: the direction in which the residual
depends less on the cause is called the causal one   [Hoyer et al., NeurIPS 2008]. Lower scores speak for a
direction; what they are worth, `null_calibration` and shuffled pairs say. All in
float64: the jitter of the kernel is below what float32 resolves.
"""

import warnings
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import scipy.linalg
import scipy.special
import scipy.stats
from jaxtyping import Float
from threadpoolctl import threadpool_limits

Values = Float[np.ndarray, " n"]
Pairs = Float[np.ndarray, "runs 2"]  # statistics of x → y, of y → x
Marginals: TypeAlias = Callable[[Values], Values]
Regressor: TypeAlias = Callable[[Values, Values], Values]  # (cause, effect), both of unit variance → residual
Draw: TypeAlias = Callable[[np.random.Generator, int], tuple[Values, Values]]
# Threads wait for each other longer than they work on matrices so small: 20 times slower on a busy machine.
ONE_THREAD = threadpool_limits.wrap(limits=1)
JITTER = 1e-10
AT_A_TIME = 50  # permutations, of 320 kB each at 200 points


def centered_kernel(values: Values) -> Float[np.ndarray, "n n"]:
    """J K J, K = exp(-d² / median(d² > 0)), J = I - 11'/n; 0 of a constant."""
    squared = (values[:, None] - values[None, :]) ** 2
    positive = squared[squared > 0]
    kernel = np.exp(-squared / (np.median(positive) if len(positive) else 1.0))
    mean = kernel.mean(axis=0)
    return kernel - mean[:, None] - mean[None, :] + mean.mean()


def hsic(a: Values, b: Values) -> float:
    """T = (1/n) Σ (J K J) ∘ (J L J): n times the biased Hilbert-Schmidt independence criterion.

    It does not change with the unit or the origin of a variable, and grows with n where they depend.
    [Gretton et al., ALT 2005; as `cdt/causality/pairwise/ANM.py` of the Causal Discovery Toolbox has it]
    """
    return float(np.sum(centered_kernel(a) * centered_kernel(b)) / len(a))


def raw(values: Values) -> Values:
    """As they are, of mean 0 and variance 1; 0 of a constant."""
    return (values - values.mean()) / (values.std() or 1.0)


def normal_scores(values: Values) -> Values:
    """The normal quantiles of their ranks, so that no shape of a marginal can decide; as `raw` otherwise."""
    return raw(scipy.special.ndtri((scipy.stats.rankdata(values) - 0.5) / len(values)))


def gp_fixed(cause: Values, effect: Values) -> Values:
    """Residual of a Gaussian process of length scale 1 and hardly any noise, as that toolbox has it."""
    kernel = np.exp(-((cause[:, None] - cause[None, :]) ** 2) / 2) + JITTER * np.eye(len(cause))
    return JITTER * scipy.linalg.cho_solve(scipy.linalg.cho_factor(kernel), effect)  # = effect - prediction


def gp_ml(cause: Values, effect: Values) -> Values:
    """Residual of a Gaussian process whose length scale and noise have the largest likelihood."""
    from sklearn.exceptions import ConvergenceWarning  # here: they take seconds to import
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    model = GaussianProcessRegressor(RBF() + WhiteKernel(), alpha=0)
    with warnings.catch_warnings():  # of no dependence the best length scale is infinite
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(cause[:, None], effect)
    return effect - np.asarray(model.predict(cause[:, None]))


def fit_scores(x: Values, y: Values, regress: Regressor, marginals: Marginals) -> tuple[float, float]:
    """T of x → y and of y → x: how much the residual of the effect depends on the cause."""
    x, y = marginals(x), marginals(y)
    return hsic(regress(x, y), x), hsic(regress(y, x), y)


@ONE_THREAD
def subsampled(
    x: Values,
    y: Values,
    regress: Regressor,
    marginals: Marginals,
    *,
    subsamples: int = 50,
    points: int = 200,
    shuffled: bool = False,
    seed: int = 0,
) -> Pairs:
    """`fit_scores` of random subsamples.

    Args:
      x: of n samples.
      y: of the same.
      regress: gp_fixed or gp_ml.
      marginals: raw or normal_scores, of each subsample.
      subsamples: how many.
      points: of each, without replacement; no more than four fifths of n, so that they differ.
      shuffled: draw x and y apart: variables with these marginals that do not depend on each other.
      seed: which points.
    """
    random, size = np.random.default_rng(seed), min(points, len(x) * 4 // 5)
    found = []
    for _ in range(subsamples):
        rows = random.permutation(len(x))[:size]
        others = random.permutation(len(x))[:size] if shuffled else rows
        found.append(fit_scores(x[rows], y[others], regress, marginals))
    return np.array(found)


@ONE_THREAD
def permutation_p(
    cause: Values, effect: Values, regress: Regressor, *, permutations: int = 1000, seed: int = 0
) -> float:
    """How often T is as large by chance: (1 + #{T of permuted residuals ≥ T}) / (1 + permutations).

    Args:
      cause: of unit variance, at most some hundred points.
      effect: of the same.
      regress: gp_fixed or gp_ml.
      permutations: of the residual, which is fitted once.
      seed: of the permutations.
    """
    of_residual, of_cause = centered_kernel(regress(cause, effect)), centered_kernel(cause)
    rows = np.tile(np.arange(len(cause)), (permutations, 1))
    orders = np.random.default_rng(seed).permuted(rows, axis=1)
    null = [
        np.einsum("pij,ij->p", of_residual[order[:, :, None], order[:, None, :]], of_cause)
        for order in np.array_split(orders, -(-permutations // AT_A_TIME))
    ]
    largest = np.sum(of_residual * of_cause) * (1 - 1e-9)  # the identity is no smaller by rounding
    return float((1 + np.sum(np.concatenate(null) >= largest)) / (1 + permutations))


def summarize(pairs: Pairs) -> dict[str, float]:
    """Mean and 5 to 95 % of either direction, their difference, and how often x → y has the lower score."""
    difference = pairs[:, 0] - pairs[:, 1]
    row = {}
    for name, values in zip(("forward", "backward"), pairs.T, strict=True):
        low, high = np.quantile(values, (0.05, 0.95))
        row |= {name: values.mean(), f"{name}_5": low, f"{name}_95": high}
    row |= {"difference": difference.mean(), "difference_sd": difference.std()}
    return {name: float(value) for name, value in row.items()} | {"lower": float(np.mean(difference < 0))}


@ONE_THREAD
def null_calibration(
    draw: Draw,
    points: int,
    runs: int,
    regress: Regressor = gp_fixed,
    marginals: Marginals = raw,
    seed: int = 0,
) -> dict[str, float]:
    """What the scores are of variables that do not depend on each other: `summarize` of many runs.

    Args:
      draw: (generator, points) → x, y, drawn apart; those of NULLS, or your own.
      points: of a run.
      runs: how many.
      regress: gp_fixed or gp_ml.
      marginals: raw or normal_scores.
      seed: of the generator.
    """
    random = np.random.default_rng(seed)
    return summarize(np.array([fit_scores(*draw(random, points), regress, marginals) for _ in range(runs)]))


NULLS: dict[str, Draw] = {
    "normal, normal": lambda random, n: (random.normal(size=n), random.normal(size=n)),
    "uniform, uniform": lambda random, n: (random.uniform(size=n), random.uniform(size=n)),
    "gamma, Student t": lambda random, n: (random.gamma(2, size=n), random.standard_t(3, size=n)),
    "lognormal, normal": lambda random, n: (random.lognormal(0, 0.6, size=n), random.normal(size=n)),
}
