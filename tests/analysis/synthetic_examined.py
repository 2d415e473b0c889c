"""Examined checkpoints without a network: embedded clouds, made-up saliency, measures following skewness."""

import functools

import numpy as np
import scipy.stats

from smdsb_jax.analysis.examine import saliency_shares
from smdsb_jax.analysis.examined import DOMAINS, Examined
from smdsb_jax.analysis.ranks import spearman
from smdsb_jax.datasets import DATASETS

STATISTICS = ("skewness", "gini", "kurtosis", "loss", "entropy", "margin", "peak", "random")
BLOCK = ("group", "stage", "domain", "measure")  # statistics are compared within one
MEASURES = ("gain", "loo", "dot_o", "cos_o", "dot_c", "cos_c")


@functools.cache
def clouds(domain, samples, points):
    split = DATASETS["embedded"]("", domain, points=1024)
    row = np.random.default_rng(0).permutation(len(split.train.label))[:samples]
    return split.classes, split.train.points[row, :points], split.train.label[row], row


def saliency_of(points, rng):
    """Mass near one random point of each cloud, more or less peaked, and some of it negative."""
    anchor = points[np.arange(len(points)), rng.integers(0, points.shape[1], len(points))]
    distance = np.linalg.norm(points - anchor[:, None], axis=2)
    width = rng.uniform(0.15, 0.9, (len(points), 1))
    return np.exp(-((distance / width) ** 2)) - 0.05 + 0.04 * rng.normal(size=distance.shape)


def examined(group="defrec, c2s", seed=0, stage=1, step=200, samples=40, points=128, shown=None):
    """`samples` rows in each of the three domains, of which the first `shown` (all) have their cloud."""
    rng = np.random.default_rng([seed, stage, step])
    classes, source, source_label, source_row = clouds("catalog", samples, points)
    _, target, true_label, target_row = clouds("scan", samples, points)
    pseudo_label = np.where(rng.random(samples) < 0.7, true_label, rng.integers(0, len(classes), samples))
    of_pseudo, of_true = saliency_of(target, rng), saliency_of(target, rng)
    right = (pseudo_label == true_label)[:, None]
    saliency = np.concatenate([saliency_of(source, rng), of_pseudo, np.where(right, of_pseudo, of_true)])
    skewness = scipy.stats.skew(saliency, axis=1)
    noise = rng.normal(size=(len(STATISTICS) + len(MEASURES), len(skewness)))
    share = dict(zip(STATISTICS, (0, 2, 1, 0.5, 0.3, -0.6, 1.5, 0), strict=True))
    scores = {name: share[name] * skewness + noise[i] for i, name in enumerate(STATISTICS)}
    scores["skewness"] = skewness
    measures = {
        name: (0.01 if name in ("gain", "loo") else 1.0) * (0.4 * noise[-1 - i] - 0.3 * skewness)
        for i, name in enumerate(MEASURES)
    }
    scores["loss"][3] = np.nan
    label = np.concatenate([source_label, pseudo_label, true_label])
    row = np.arange(3 * samples)
    has_cloud = row[row % samples < (samples if shown is None else shown)]
    return Examined(
        name=f"runs/{group.replace(', ', '_')}_seed{seed}, stage {stage}, step {step}",
        group=group, seed=seed, stage=stage, step=step, statistic="skewness", classes=classes,
        domain=np.repeat(np.array(DOMAINS), samples),
        index=np.concatenate([source_row, target_row, target_row]),
        batch=row % samples // 8, label=label,
        predicted=np.where(rng.random(len(label)) < 0.7, label, rng.integers(0, len(classes), len(label))),
        kept=skewness < np.quantile(skewness, 0.7), scores=scores, measures=measures,
        covariates={"loss": skewness, "confidence": -skewness},
        saliency_shares=saliency_shares(saliency), shown=has_cloud,
        points=np.concatenate([source, target, target])[has_cloud].astype(np.float32),
        saliency=saliency[has_cloud].astype(np.float32),
    )  # fmt: skip


def leaderboard(checkpoints):
    """A row per checkpoint's group and stage, domain, statistic and measure; one interval is missing."""
    rows = []
    for e in {(e.group, e.stage): e for e in checkpoints}.values():
        for domain in DOMAINS:
            of = e.domain == domain
            for statistic, score in e.scores.items():
                for measure, value in e.measures.items():
                    rows.append(_row(e, domain, statistic, measure, score[of], value[of]))
    for row in rows:
        size = [abs(r["spearman"]) for r in rows if all(r[k] == row[k] for k in BLOCK)]
        known = row["spearman"] == row["spearman"]
        row["rank"] = 1 + sum(s > abs(row["spearman"]) for s in size) if known else None
    rows[0] |= {"kendall": None, "kendall_low95": None, "kendall_high95": None}
    return rows


def _row(e, domain, statistic, measure, score, value):
    rho = spearman(score, value)  # NaN for the score with a NaN
    rho = float("nan") if np.isnan(score).any() else rho
    order, keep = np.argsort(score), len(score) * 7 // 10
    row = {
        "group": e.group, "stage": e.stage, "domain": domain, "statistic": statistic, "measure": measure,
        "side": "high" if statistic == "margin" else "low", "spearman": rho, "kendall": 0.68 * rho,
        "partial": 0.8 * rho - 0.02, "kept_low": float(value[order[:keep]].mean() - value.mean()),
        "kept_high": float(value[order[-keep:]].mean() - value.mean()),
        "seeds": 1, "same_sign": 1, "samples": len(score),
    }  # fmt: skip
    for name in ("spearman", "kendall", "partial"):
        row |= {f"{name}_low95": row[name] - 0.17, f"{name}_high95": row[name] + 0.16}
    row |= {"spearman_best_low95": row["spearman"] - 0.27, "spearman_best_high95": row["spearman"] + 0.26}
    return row
