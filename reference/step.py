"""The train step of SM-DSB with DefRec in PyTorch, with the semantics of `smdsb_jax.train_step.train_step`.

Each pass normalizes by its own BatchNorm statistics, in this order: class source, class target (stage 2),
pretext source, pretext target. [SM-DSB, arXiv:2504.15796; Achituve et al., arXiv:2003.12641]
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reference import factorised as fast
from reference import models, weights
from reference.deform import deform_released, deform_vectorised

Deform = Callable[[Tensor], tuple[Tensor, Tensor]]  # clouds [batch, n, 3] -> (deformed, mask [batch, n])
Metrics = dict[str, Tensor]


class Measured(NamedTuple):
    """What the last step found out about the samples of one domain."""

    gradient: Tensor  # [batch, n, 3], of the summed classification loss
    saliency: Tensor  # [batch, n]
    score: Tensor  # [batch]


class Reference:
    """A model, its optimizer, and the step that updates them.

    Attributes:
      model: the network.
      measured: per domain what the last step measured; None without labels or selection.
      kept: per domain the mask of the samples that the last step kept.
    """

    def __init__(
        self,
        config: Any,
        classes: int,
        variables: weights.Tree,
        *,
        stage: int,
        factorised: bool,
        compiled: bool,
        dtype: torch.dtype,
        device: str,
        deform: Deform | None,
        dropout: bool,
    ):
        check(config)
        self.config, self.like = config, variables
        self.dtype, self.device, self.shares_backward = dtype, torch.device(device), factorised
        rates = (config.classification.dropout, config.pretext.dropout) if dropout else (0.0, 0.0)
        network = fast.Network if factorised else models.Network
        self.model = network(dict(config.encoder), classes, *rates).to(self.device, dtype)
        weights.load(self.model, variables)

        optimizer = config.optimizer
        kind = torch.optim.Adam if optimizer.name == "adam" else torch.optim.AdamW
        self.optimizer = kind(
            self.model.parameters(),
            optimizer.learning_rate,
            weight_decay=optimizer.weight_decay,
            fused=factorised,
        )
        rate = learning_rate(optimizer.schedule, config[f"stage{stage}"].steps)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate)
        self.momentum = momentum(optimizer.schedule, config[f"stage{stage}"].steps)

        released = deform_vectorised if factorised else deform_released
        least = max(int(config.pretext.min_share * config.data.points + 0.5), 1)
        options = {"min_points": least, "variance": config.pretext.noise_variance}
        self.deform = functools.partial(released, **options) if deform is None else deform
        self.classify: Callable[[Tensor], Tensor] = self.model.classify
        self.reconstruct: Callable[[Tensor], Tensor] = self.model.reconstruct
        self.chamfer = fast.chamfer_distance if factorised else models.chamfer_distance
        if compiled:
            self.classify = torch.compile(self.classify, dynamic=False)
            self.reconstruct = torch.compile(self.reconstruct, dynamic=False)
            # the other one's arrays have the size of the region, and cost nothing
            self.chamfer = self.chamfer if factorised else torch.compile(self.chamfer, dynamic=False)
        self.measured: list[Measured | None] = [None, None]
        self.kept: list[Tensor] = []

    def step(self, batch: Any) -> Metrics:
        """One update from a `smdsb_jax.state.Batch` of numpy arrays, augmented already."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        domains = [self.clouds(half) for half in batch]
        mode, selects = self.config.saliency.mode, self.config.selection.statistic != "none"
        gradients: list[Tensor | None] = [None, None]
        if selects and mode == "per_sample":  # by the running statistics that the step starts from
            gradients = [self.per_sample_gradient(*half[:2]) for half in domains]
        loss, shared = self.class_pass(domains, needs_gradient=selects and mode == "shared")
        if mode == "shared":
            gradients = shared
        metrics: Metrics = {"loss/class": loss}
        batches = [len(points) for points, _, _ in domains]
        self.kept = [torch.ones(n, dtype=torch.bool, device=self.device) for n in batches]
        self.measured = [None, None]
        if selects:
            metrics |= self.measure_and_select(domains, gradients)
        metrics |= self.pretext_pass(domains)
        for group in self.optimizer.param_groups:
            group["betas"] = (self.momentum(self.schedule.last_epoch), 0.999)
        self.optimizer.step()
        self.schedule.step()
        for domain, kept in zip(("source", "target"), self.kept, strict=True):
            metrics[f"selection/kept_{domain}"] = kept.to(self.dtype).mean()
        return metrics

    def clouds(self, half: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(points, label or None, weight or None) on the device."""
        points = torch.as_tensor(np.array(half.points)).to(self.device, self.dtype)
        label = None if half.label is None else torch.as_tensor(np.array(half.label)).to(self.device).long()
        weight = None if half.weight is None else torch.as_tensor(np.array(half.weight))
        return points, label, None if weight is None else weight.to(self.device, self.dtype)

    def class_pass(self, domains: list, needs_gradient: bool) -> tuple[Tensor, list[Tensor | None]]:
        """Cross-entropy of source and labelled target, its backward pass, its gradients by the points."""
        total, seen = torch.zeros((), dtype=self.dtype, device=self.device), []
        for points, label, weight in domains:
            if label is None:
                continue
            points = points.detach().requires_grad_(needs_gradient)
            loss = F.cross_entropy(self.classify(points), label, reduction="none")
            total = total + (loss if weight is None else weight * loss).mean()
            seen.append(points)
        class_weight = self.config.classification.weight
        total = class_weight * total
        gradients: list[Tensor | None] = [None, None]
        if needs_gradient and not self.shares_backward:  # as research code: a second pass over the graph
            gradients[: len(seen)] = torch.autograd.grad(total, seen, retain_graph=True)
        total.backward()
        if needs_gradient and self.shares_backward:
            gradients[: len(seen)] = [points.grad for points in seen]
        # from the gradient of the weighted mean back to that of each cloud's own loss
        scaled: list[Tensor | None] = [None, None]
        for index, ((_, _, weight), g) in enumerate(zip(domains, gradients, strict=True)):
            if g is not None:
                own = torch.ones(len(g), dtype=g.dtype, device=g.device) if weight is None else weight
                scaled[index] = g * (len(g) / (class_weight * own))[:, None, None]
        return total.detach(), scaled

    def per_sample_gradient(self, points: Tensor, label: Tensor | None) -> Tensor | None:
        """Gradient of each cloud's own loss by its points: in inference mode clouds do not interact."""
        if label is None:
            return None
        self.model.eval().requires_grad_(False)
        points = points.detach().requires_grad_()
        loss = F.cross_entropy(self.classify(points), label, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, points)
        self.model.train().requires_grad_(True)
        return gradient

    def measure_and_select(self, domains: list, gradients: list[Tensor | None]) -> Metrics:
        """Score the labelled samples, set `measured` and `kept`."""
        selection, metrics = self.config.selection, {}
        scores: list[Tensor] = []
        for index, (name, gradient) in enumerate(zip(("source", "target"), gradients, strict=True)):
            if gradient is None:
                continue
            maps = saliency(domains[index][0], gradient, self.config.saliency.alpha)
            self.measured[index] = Measured(gradient, maps, skewness(maps))
            scores.append(skewness(maps))
            metrics[f"selection/{name}/score"] = scores[-1].mean()
        if len(scores) == 2:
            mean, std = selection.target_shift
            scores[1] = scores[1] + mean + std * torch.randn_like(scores[1])
        options = (selection.keep_ratio, selection.side)
        if len(scores) == 2 and selection.scope == "pooled":
            pooled = keep_mask(torch.cat(scores), *options)
            self.kept = list(pooled.split([len(score) for score in scores]))
        else:
            self.kept[: len(scores)] = [keep_mask(score, *options) for score in scores]
        return metrics

    def pretext_pass(self, domains: list) -> Metrics:
        """DefRec of the kept samples, source then target, each with its own backward."""
        selection, pretext = self.config.selection, self.config.pretext
        selects = selection.statistic != "none"
        divides_by_batch = not selects or selection.denominator == "batch"
        total, metrics = torch.zeros((), dtype=self.dtype, device=self.device), {}
        for index, (name, (points, label, _)) in enumerate(zip(("source", "target"), domains, strict=True)):
            if name == "source" and not pretext.on_source:
                continue
            keep, batch = self.kept[index], len(points)
            if selects and selection.execution == "gather" and (index == 0 or label is not None):
                points, keep = points[keep], keep[keep]
            deformed, mask = self.deform(points)
            losses = pretext.scale * self.chamfer(points, self.reconstruct(deformed), mask)
            divisor = batch if divides_by_batch else keep.sum().clamp(min=1)
            loss = torch.where(keep, losses, 0).sum() / divisor
            (pretext.weight * loss).backward()
            metrics[f"pretext/{name}/reconstruction"] = loss.detach()
            total = total + loss.detach()
        return {"loss/pretext": pretext.weight * total, **metrics}

    def variables(self) -> weights.Tree:
        """Parameters and running statistics in the layout of `smdsb_jax`, as numpy arrays."""
        return weights.variables_of(self.model, self.like)

    def gradients(self) -> weights.Tree:
        """The last step's gradient of the total loss, without decay, in the layout of the parameters."""
        return weights.gradients_of(self.model, self.like)

    @torch.no_grad()
    def predict(self, points: Any) -> Tensor:
        """Logits [batch, classes] of clouds [batch, n, 3], in inference mode."""
        self.model.eval()
        logits = self.classify(torch.as_tensor(np.array(points)).to(self.device, self.dtype))
        self.model.train()
        return logits


def check(config: Any) -> None:
    """Refuse what the reference does not have.

    Raises:
      ValueError: names the field and what there is.
    """
    wanted = {
        "encoder.name": models.ENCODERS,
        "pretext.name": ("defrec",),
        "selection.statistic": ("skewness", "none"),
        "classification.mixup": ("none",),
        "combine.name": ("sum",),
        "optimizer.schedule": ("cosine", "one_cycle", "constant"),
        "stage2.schedule": ("",),
        "stage2.pretext": (True,),
        "classification.label_weights": ("per_sample",),
        "selection.freeze_unlabelled": (False,),
    }
    for field, known in wanted.items():
        section, name = field.split(".")
        value = config[section].get(name, known[0])
        if value not in known:
            raise ValueError(
                f"config.{field} = {value!r}: the reference has {' and '.join(map(repr, known))} only."
            )


def learning_rate(schedule: str, steps: int) -> Callable[[int], float]:
    """Update -> share of the peak learning rate: `cosine` to 0, `one_cycle` or `constant`."""

    def between(first: float, last: float, share: float) -> float:
        return last + (first - last) * (1 + math.cos(math.pi * min(share, 1.0))) / 2

    if schedule == "cosine":
        return lambda step: between(1.0, 0.0, step / steps)
    if schedule == "one_cycle":  # 1/25 up to 1 in 30 % of the steps, down to 1/250,000
        top = int(0.3 * steps)
        return lambda step: (
            between(1 / 25, 1.0, step / top)
            if step < top
            else between(1.0, 1 / 25e4, (step - top) / (steps - top))
        )
    return lambda step: 1.0


def momentum(schedule: str, steps: int) -> Callable[[int], float]:
    """Update -> beta_1 of Adam: with `one_cycle` 0.95, 0.85 at 30 % of the steps and 0.95 again."""
    if schedule != "one_cycle":
        return lambda step: 0.9
    rate = learning_rate(schedule, steps)  # the same half cosines, from other ends
    top = int(0.3 * steps)

    def beta(step: int) -> float:
        low = 1 / 25 if step < top else 1 / 25e4
        return 0.95 - 0.1 * (rate(step) - low) / (1 - low)

    return beta


def saliency(points: Tensor, gradient: Tensor, alpha: float) -> Tensor:
    """s_i = -(g_i · d_i) |d_i|^alpha, d_i = x_i - median, [batch, n]   [arXiv:1812.01687, Eq. 6]."""
    points = points.detach()
    ordered, n = points.sort(dim=1)[0], points.shape[1]
    # the mean of the two middle values; torch.median takes the lower one
    center = (ordered[:, (n - 1) // 2] + ordered[:, n // 2]) / 2
    offset = points - center[:, None, :]
    return -(gradient * offset).sum(-1) * offset.norm(dim=-1) ** alpha


def skewness(maps: Tensor) -> Tensor:
    """Third standardized moment of each map, [batch]; 0 where its spread is rounding   [SM-DSB, III-C]."""
    scale = maps.abs().amax(1, keepdim=True)
    s = maps / torch.where(scale > 0, scale, 1)
    deviation = s - s.mean(1, keepdim=True)
    variance = (deviation**2).mean(1)
    spread = variance > 1e-12
    third = (deviation**3).mean(1)
    return torch.where(spread, third / torch.where(spread, variance, 1) ** 1.5, 0)


def keep_mask(scores: Tensor, keep_ratio: float, side: str) -> Tensor:
    """The floor(keep_ratio n + 1/2) lowest or highest scores, ties by index, NaN last   [SM-DSB, III-C]."""
    count = min(max(int(keep_ratio * len(scores) + 0.5 + 1e-9), 1), len(scores))
    worst_last = scores if side == "low" else -scores
    keep = torch.zeros_like(scores, dtype=torch.bool)
    keep[worst_last.argsort(stable=True)[:count]] = True
    return keep
