"""The same networks with the algebra that `smdsb_jax` uses, in the fastest PyTorch known to the authors.

Channel-last arrays. An edge convolution never forms its edges' features, maxima are taken before the norm,
the norm's statistics come from moments, and `torch.autograd.Function`s keep indices instead of features.
All of it runs eagerly and under `torch.compile`.

On a CPU: products are convolutions of kernel 1 over channel-last memory, since oneDNN is twice as fast as
the BLAS matrix product on AMD processors; sums over neighbors are `embedding_bag`s, which need no gather.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from reference import models
from reference.models import Features, add_identity


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X [batch, n, c] times the transpose of weight [d, c]."""
    if x.device.type != "cpu":
        return F.linear(x, weight, bias)
    image = x.unsqueeze(2).permute(0, 3, 1, 2)  # [batch, c, n, 1], channels last in memory
    return F.conv2d(image, weight[:, :, None, None], bias).permute(0, 2, 3, 1).squeeze(2)


def gram(x: Tensor) -> Tensor:
    """Sum over all rows of x xᵀ, [c, c]."""
    c = x.shape[-1]
    if x.device.type != "cpu":
        return x.reshape(-1, c).T @ x.reshape(-1, c)
    image = x.unsqueeze(2).permute(0, 3, 1, 2)
    return conv2d_weight(image, (c, c, 1, 1), image).view(c, c)


# Neighbors ------------------------------------------------------------------------------------------------


@torch.library.custom_op("smdsb_reference::nearest", mutates_args=())
def nearest(x: Tensor, k: int) -> Tensor:
    """Rows in x.view(-1, c) of each point's k nearest in its cloud, itself included, in any order.

    Shape [batch, n, k]. A custom operator, so that `torch.compile` leaves the loop over clouds as it is.
    """
    batch, n, _ = x.shape
    squared = (x * x).sum(-1)
    first = torch.arange(batch, device=x.device)[:, None, None] * n
    if x.device.type != "cpu":
        nearness = torch.baddbmm(-squared[:, None, :], x, x.transpose(1, 2), alpha=2)
        return nearness.topk(k, dim=-1, sorted=False)[1] + first
    # cloud by cloud, the distances stay in the cache and in one piece of memory
    nearness, found = x.new_empty(n, n), torch.empty(batch, n, k, dtype=torch.long)
    for b in range(batch):
        torch.addmm(-squared[b][None, :], x[b], x[b].T, alpha=2, out=nearness)
        found[b] = top_of_groups(nearness, k)
    return found + first


@nearest.register_fake
def _(x: Tensor, k: int) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], k, dtype=torch.long)


GROUP = 8


def top_of_groups(values: Tensor, k: int) -> Tensor:
    """Indices of the k largest of each row [n, m], unordered.

    The k largest lie in the k groups with the largest maxima, so `topk` sees m / 8 and 8 k values instead of
    m: twice as fast for m = 1,024 and k = 20.
    """
    n, m = values.shape
    groups = m // GROUP
    if m % GROUP or groups < 2 * k:
        return values.topk(k, dim=-1, sorted=False)[1]
    best = values.view(n, GROUP, groups).amax(1).topk(k, dim=-1, sorted=False)[1]
    member = torch.arange(GROUP, device=values.device)[:, None] * groups
    candidates = (best[:, None, :] + member).view(n, GROUP * k)
    return candidates.gather(1, values.gather(1, candidates).topk(k, dim=-1, sorted=False)[1])


def sum_over_neighbors(b: Tensor, neighbors: Tensor) -> Tensor:
    """Sum of the rows of b [batch, n, c] over each point's neighbors."""
    rows = b.reshape(-1, b.shape[-1])
    return F.embedding_bag(neighbors.view(-1, neighbors.shape[-1]), rows, mode="sum").view_as(b)


def reversed_edges(neighbors: Tensor) -> tuple[Tensor, Tensor]:
    """The edges sorted by where they end: (their positions in `neighbors`, where each end's begin)."""
    points = neighbors.shape[0] * neighbors.shape[1]
    ends, order = torch.sort(neighbors.reshape(-1), stable=True)
    return order, torch.searchsorted(ends, torch.arange(points + 1, device=ends.device))


def sum_over_sources(rows: Tensor, sources: Tensor, begins: Tensor) -> Tensor:
    """For each point the sum of the rows whose edges end in it."""
    return F.embedding_bag(sources, rows, begins, mode="sum", include_last_offset=True)


def max_over_neighbors(b: Tensor, neighbors: Tensor) -> tuple[Tensor, Tensor]:
    """Per point and channel the maximum of b [batch, n, c] over the neighbors, and the row that has it."""
    rows, lists = b.reshape(-1, b.shape[-1]), neighbors.view(-1, neighbors.shape[-1])
    if b.device.type == "cpu" and not torch.compiler.is_compiling():
        begins = torch.arange(0, lists.numel(), lists.shape[1])
        largest, _, _, winner = torch.embedding_bag(rows, lists.reshape(-1), begins, mode=2)
        return largest.view_as(b), winner.view_as(b)
    # compiled, this is one loop that keeps maximum and winner in registers
    largest = rows[lists[:, 0]]
    winner = lists[:, :1].expand_as(largest)
    for j in range(1, lists.shape[1]):
        candidate = rows[lists[:, j]]
        better = candidate > largest
        largest = torch.where(better, candidate, largest)
        winner = torch.where(better, lists[:, j, None], winner)
    return largest.view_as(b), winner.reshape(b.shape)


def to_winners(gradient: Tensor, winner: Tensor) -> Tensor:
    """Add each entry [i, c] to the row that had the maximum."""
    c = gradient.shape[-1]
    entries = winner.reshape(-1, c) * c + torch.arange(c, device=winner.device)
    flat = gradient.new_zeros(gradient.numel())
    return flat.scatter_add(0, entries.view(-1), gradient.reshape(-1)).view_as(gradient)


class NeighborMax(torch.autograd.Function):
    """Maximum over the neighbors."""

    @staticmethod
    def forward(ctx: Any, b: Tensor, neighbors: Tensor) -> Tensor:  # noqa: D102
        largest, winner = max_over_neighbors(b, neighbors)
        ctx.save_for_backward(winner)
        return largest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: D102
        return to_winners(gradients[0], *ctx.saved_tensors), None


class NeighborRows(torch.autograd.Function):
    """The neighbors' rows [batch, n, k, c], for a layer that must see every edge."""

    @staticmethod
    def forward(ctx: Any, b: Tensor, neighbors: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(neighbors)
        return F.embedding(neighbors, b.reshape(-1, b.shape[-1]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: D102
        (neighbors,) = ctx.saved_tensors
        c = gradients[0].shape[-1]
        order, begins = reversed_edges(neighbors)
        rows = sum_over_sources(gradients[0].reshape(-1, c), order, begins)
        return rows.view(*neighbors.shape[:2], c), None


# Layers ---------------------------------------------------------------------------------------------------


class EdgeMaxNorm(torch.autograd.Function):
    """Maximum over the edges of BN(a_i + b_j), with the batch's statistics; scale >= 0.

    With M edges, m_a = mean(a), S_i = sum_j b_j, m_b = sum_i S_i / M and n_j edges that end in j:
    mean = m_a + m_b,
    var = [k sum (a_i - m_a)^2 + 2 sum (a_i - m_a)(S_i - k m_b) + sum n_j (b_j - m_b)^2] / M.
    Backward: with g the gradient of the maxima before the norm's statistics, every edge gets
    α + β (y - mean), α = -sum g / M and β = -sum g (y_max - mean) / (M var), whose sums over the edges of a
    point need S_i again, and sum_i a_i over the edges that end in j.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, a: Tensor, b: Tensor, neighbors: Tensor, scale: Tensor, bias: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        k = neighbors.shape[-1]
        edges = neighbors.numel()
        largest, winner = max_over_neighbors(b, neighbors)
        total = sum_over_neighbors(b, neighbors)
        order, begins = reversed_edges(neighbors)
        ends = begins.diff().to(b.dtype).view(*b.shape[:2], 1)
        mean_a, mean_b = a.mean((0, 1)), total.sum((0, 1)) / edges
        a, b, total = a - mean_a, b - mean_b, total - k * mean_b
        var = ((k * a + 2 * total) * a + ends * b * b).sum((0, 1)).clamp(min=0) / edges
        inverse = torch.rsqrt(var + epsilon)
        normal = (a + (largest - mean_b)) * inverse
        ctx.save_for_backward(a, b, total, normal, winner, order, begins, ends, scale, inverse)
        ctx.k = k
        mean = mean_a + mean_b
        ctx.mark_non_differentiable(mean, var)
        return normal * scale + bias, mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: D102
        a, b, total, normal, winner, order, begins, ends, scale, inverse = ctx.saved_tensors
        h, k = gradients[0], ctx.k
        edges = order.numel()
        of_bias, of_scale = h.sum((0, 1)), (h * normal).sum((0, 1))
        g = h * (scale * inverse)
        alpha = -of_bias * scale * inverse / edges
        beta = -of_scale * scale * inverse**2 / edges
        of_a = g + beta * (k * a + total) + k * alpha
        sources = torch.div(order, k, rounding_mode="floor")
        incoming = sum_over_sources(a.reshape(-1, a.shape[-1]), sources, begins).view_as(a)
        of_b = to_winners(g, winner) + beta * (incoming + ends * b) + ends * alpha
        return of_a, of_b, None, of_scale, of_bias, None


class PooledProductNorm(torch.autograd.Function):
    """Maximum over n of BN(x W^T), x [groups, n, c], with the batch's statistics; scale >= 0.

    The statistics come from the mean and the centered Gram matrix G of x: mean = W m, var_c = w_c G w_c.
    Backward, with g the gradient of the maxima before the statistics, α and β as in `EdgeMaxNorm`:
    dx = (g at the maxima) W + α W + (x - m) W^T diag(β) W and dW = (g at the maxima)^T x + M α m^T + M β W G,
    so that no array has the size of the layer's output.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        groups, n, _ = x.shape
        mean_x = x.mean((0, 1))
        covariance = gram(x - mean_x) / (groups * n)
        mean = weight @ mean_x
        var = ((weight @ covariance) * weight).sum(1).clamp(min=0)
        inverse = torch.rsqrt(var + epsilon)
        y = product(x, weight)
        largest = y.amax(1)
        # the row of the maximum: twice as fast as `max` with indices, which is not vectorised along columns
        row = torch.arange(n, dtype=torch.int32, device=x.device)[None, :, None]
        row = torch.where(y == largest[:, None, :], row, n - 1).amin(1)
        normal = (largest - mean) * inverse
        ctx.save_for_backward(x, weight, mean_x, covariance, normal, row, scale, inverse)
        ctx.mark_non_differentiable(mean, var)
        return normal * scale + bias, mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: D102
        x, weight, mean_x, covariance, normal, row, scale, inverse = ctx.saved_tensors
        h = gradients[0]
        groups, n, c = x.shape
        of_bias, of_scale = h.sum(0), (h * normal).sum(0)
        g = h * (scale * inverse)
        alpha = -of_bias * scale * inverse / (groups * n)
        beta = -of_scale * scale * inverse**2 / (groups * n)
        row = (row.long() + torch.arange(groups, device=x.device)[:, None] * n).view(-1)
        rows = x.reshape(-1, c)
        entries, order = torch.sort(row)
        begins = torch.searchsorted(entries, torch.arange(groups * n + 1, device=x.device))
        channel = order % weight.shape[0]
        of_x = F.embedding_bag(
            channel,
            weight,
            begins,
            mode="sum",
            include_last_offset=True,
            per_sample_weights=g.view(-1)[order],
        ).view_as(x)
        dense = weight.T @ (beta[:, None] * weight)
        of_x = of_x + product(x, dense) + (alpha @ weight - mean_x @ dense)

        # per channel the weighted sum of the rows that had its maxima
        maxima = row.view(groups, -1).T.contiguous()
        of_weight = F.embedding_bag(maxima, rows, mode="sum", per_sample_weights=g.T.contiguous())
        of_weight = of_weight + groups * n * (alpha[:, None] * mean_x + beta[:, None] * (weight @ covariance))
        return of_x, of_weight, of_scale, of_bias, None


def direction(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Tensor:
    """Per channel 1 where the norm does not decrease, -1 where it does."""
    return torch.where(norm.weight < 0, -1.0, 1.0).to(norm.weight.dtype).detach()


def record(norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: Tensor, var: Tensor, count: int) -> None:
    """Update the running statistics with the mean and the biased variance of `count` values."""
    assert norm.momentum is not None and norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(var * (count / max(count - 1, 1)), norm.momentum)


def normalize(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """The norm by its running statistics, on the last axis."""
    assert norm.running_mean is not None and norm.running_var is not None
    multiplier = torch.rsqrt(norm.running_var + norm.eps) * norm.weight
    return (x - norm.running_mean) * multiplier + norm.bias


class Block(models.Block):
    """Dense layer on the last axis, BatchNorm, leaky ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, c] or [batch, n, c]."""
        weight = self.dense.weight.flatten(1)
        if x.ndim == 2:
            return self.activate(self.norm(F.linear(x, weight, self.dense.bias)))
        return self.norm_and_activate(product(x, weight, self.dense.bias))

    def norm_and_activate(self, y: Tensor) -> Tensor:
        """On the last axis of [batch, n, c]; as channel-last images, which have the fast norm on a CPU."""
        image = y.unsqueeze(2).permute(0, 3, 1, 2)
        norm = self.norm
        if norm.training and norm.momentum is not None:
            y = F.batch_norm(
                image,
                norm.running_mean,
                norm.running_var,
                norm.weight,
                norm.bias,
                True,
                norm.momentum,
                norm.eps,
            )
            return self.activate(y.permute(0, 2, 3, 1).squeeze(2))
        return self.activate(normalize(norm, y))

    def activate(self, y: Tensor) -> Tensor:
        """Leaky ReLU."""
        return F.relu(y) if self.slope == 0 else F.leaky_relu(y, self.slope)


class PooledBlock(Block):
    """A block, then the maximum over points: [batch, n, c] -> [batch, d]."""

    def __init__(self, inputs: int, outputs: int, slope: float, bias: bool, axes: int = 1):
        super().__init__(inputs, outputs, axes=axes, slope=slope, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maximum first, of what has the sign with which norm and activation do not decrease."""
        norm, sign = self.norm, direction(self.norm)
        weight, bias = sign[:, None] * self.dense.weight.flatten(1), self.dense.bias
        if not norm.training:
            y = sign * product(x, weight).amax(1)
            return self.activate(normalize(norm, y if bias is None else y + bias))
        y, mean, var = PooledProductNorm.apply(x, weight, sign * norm.weight, norm.bias, norm.eps)  # type: ignore[misc]
        mean = sign * mean
        if bias is not None:
            # the norm removes it from the output; its gradient is 0, not absent: the decay acts on it
            mean, y = mean + bias, y + 0 * bias
        record(norm, mean, var, x.shape[0] * x.shape[1])
        return self.activate(y)


class EdgeConv(models.EdgeConv):
    """max_j LeakyReLU(BN(W [x_j - x_i, x_i])), [batch, n, c] -> [batch, n, d], without the edges."""

    def forward(self, x: Tensor) -> Tensor:
        """With W = [W_n, W_c], an edge's value is a_i + b_j, a = x (W_c - W_n)^T and b = x W_n^T."""
        norm, sign = self.norm, direction(self.norm)
        neighbors = nearest(x.detach(), self.k)
        of_neighbor, of_center = (sign[:, None] * self.dense.weight.flatten(1)).chunk(2, dim=1)
        a, b = product(x, of_center - of_neighbor), product(x, of_neighbor)
        if norm.training:
            scale = sign * norm.weight
            y, mean, var = EdgeMaxNorm.apply(a, b, neighbors, scale, norm.bias, norm.eps)  # type: ignore[misc]
            record(norm, sign * mean, var, neighbors.numel())
        else:
            largest: Tensor = NeighborMax.apply(b, neighbors)  # type: ignore[assignment]
            y = normalize(norm, sign * (a + largest))
        return F.leaky_relu(y, self.slope)


class EdgeBlock(Block):
    """LeakyReLU(BN(W [x_j - x_i, x_i])) of every edge, [batch, n, c] -> [batch, n k, d]."""

    k: int

    def forward(self, x: Tensor) -> Tensor:
        """The product per point, the norm per edge."""
        neighbors = nearest(x.detach(), self.k)
        of_neighbor, of_center = self.dense.weight.flatten(1).chunk(2, dim=1)
        a, b = product(x, of_center - of_neighbor), product(x, of_neighbor)
        rows: Tensor = NeighborRows.apply(b, neighbors)  # type: ignore[assignment]
        return self.norm_and_activate((a[:, :, None, :] + rows).flatten(1, 2))


# Networks -------------------------------------------------------------------------------------------------


class PointTNet(models.PointTNet):
    """Matrix [c, c] for each cloud [batch, n, c]."""

    block, pooled_block = Block, PooledBlock


class EdgeTNet(models.EdgeTNet):
    """Matrix [3, 3] for each cloud [batch, n, 3]."""

    block, pooled_block = Block, PooledBlock

    def __init__(self, k: int, width: int):
        super().__init__(k, width)
        self.conv1 = EdgeBlock(6, width // 16, 2)
        self.conv1.k = k
        self.conv2 = PooledBlock(width // 16, width // 8, 0.2, False, axes=2)

    def forward(self, x: Tensor) -> Tensor:
        """The second layer's maximum over the neighbors is one over groups of k rows."""
        batch, n, _ = x.shape
        edges = self.conv1(x)
        h = self.conv2(edges.view(batch * n, self.k, -1)).view(batch, n, -1)
        return add_identity(self.out(self.fc2(self.fc1(self.conv3(h)))), 3)


class DGCNN(models.DGCNN):
    """DGCNN on [batch, n, 3]."""

    pooled_block, edge_conv, tnet_class = PooledBlock, EdgeConv, EdgeTNet
    channel_axis = 2

    def forward(self, x: Tensor) -> Features:
        """Encode clouds."""
        return self.convolve(x if self.tnet is None else torch.matmul(x, self.tnet(x).transpose(1, 2)))


class PointNet(models.PointNet):
    """PointNet on [batch, n, 3]."""

    block, pooled_block, tnet_class = Block, PooledBlock, PointTNet

    def transform(self, x: Tensor, tnet: nn.Module) -> Tensor:
        """Row vectors times the cloud's matrix."""
        return torch.matmul(x, tnet(x))


class ClassificationHead(models.ClassificationHead):
    """Embedding -> logits."""

    block = Block


class ReconstructionHead(models.ReconstructionHead):
    """Per-point features and the embedding -> a point per point."""

    block = Block
    conv1: Block

    def forward(self, features: Features) -> Tensor:
        """The first layer's product is split: the embedding's part is computed once per cloud."""
        local = torch.cat(features.layers, dim=2)
        of_local, of_embedding = self.conv1.dense.weight.flatten(1).split(
            [local.shape[2], features.embedding.shape[1]], dim=1
        )
        y = product(local, of_local) + F.linear(features.embedding, of_embedding)[:, None, :]
        h = self.drop(self.conv1.norm_and_activate(y))
        return product(self.conv3(self.drop(self.conv2(h))), self.out.weight.flatten(1))

    def drop(self, h: Tensor) -> Tensor:
        """Dropout; for the usual rate of 1/2 from one random bit per element, 32 from each random number."""
        rate = self.dropout.p
        if not self.training or rate != 0.5:
            return F.dropout(h, rate, self.training)
        words = -(-h.shape[-1] // 32)
        drawn = torch.randint(2**32, (*h.shape[:-1], words, 1), device=h.device)
        bits = (drawn >> torch.arange(32, device=h.device)) & 1
        return h * (2 * bits.flatten(-2)[..., : h.shape[-1]]).to(h.dtype)


class Network(models.Network):
    """Encoder, classification head and DefRec's head."""

    dgcnn, pointnet = DGCNN, PointNet
    classification_head, reconstruction_head = ClassificationHead, ReconstructionHead

    def classify(self, points: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        return self.head(self.encoder(points).embedding)

    def reconstruct(self, points: Tensor) -> Tensor:
        """The original of deformed clouds, [batch, n, 3]."""
        return self.pretext(self.encoder(points))


def chamfer_distance(original: Tensor, prediction: Tensor, mask: Tensor) -> Tensor:
    """Masked Chamfer distance of each cloud [batch], among the points of the region only.

    The nearest are found by |p|^2 + |q|^2 - 2 p q without a graph, the distances to them by differences.
    """
    count = mask.sum(1)
    most = max(int(count.max()), 1)
    region = mask.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    inside = torch.arange(most, device=mask.device) < count[:, None]
    original, prediction = rows_of(original, region), rows_of(prediction, region)
    with torch.no_grad():
        squared = torch.baddbmm(
            (original**2).sum(-1)[:, :, None] + (prediction**2).sum(-1)[:, None, :],
            original,
            prediction.transpose(1, 2),
            alpha=-2,
        )
        of_original = squared.masked_fill(~inside[:, None, :], torch.inf).argmin(2)
        of_prediction = squared.masked_fill(~inside[:, :, None], torch.inf).argmin(1)
    squared = ((original - rows_of(prediction, of_original)) ** 2).sum(-1)
    squared = squared + ((prediction - rows_of(original, of_prediction)) ** 2).sum(-1)
    return torch.where(inside, squared, 0).sum(1) / count.clamp(min=1)


def rows_of(x: Tensor, rows: Tensor) -> Tensor:
    """X [batch, n, c] at rows [batch, m]."""
    return x.gather(1, rows[:, :, None].expand(-1, -1, x.shape[2]))
