"""The networks of `smdsb_jax` in PyTorch, written as published research code writes them.

Every edge feature exists as a tensor [batch, 2c, n, k], layers are convolutions of kernel 1 and arrays are
channel-first. Attribute names follow the variables of `smdsb_jax`, so that `weights.py` can copy by name.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ENCODERS = ("dgcnn", "pointnet")
EDGE_NEIGHBORS = 20  # of the PointSegDA network


class Features(NamedTuple):
    """What an encoder makes of a batch of clouds."""

    embedding: Tensor  # [batch, d]
    layers: list[Tensor]  # per-point features, shallow to deep


def knn(x: Tensor, k: int) -> Tensor:
    """Indices [batch, n, k] of the k nearest points of each point of [batch, c, n], itself included."""
    squared = (x**2).sum(1, keepdim=True)
    nearness = 2 * torch.matmul(x.transpose(1, 2), x) - squared - squared.transpose(1, 2)
    return nearness.topk(k, dim=-1)[1]


def edge_features(x: Tensor, k: int) -> Tensor:
    """[x_j - x_i, x_i] of the k neighbors j of each point i, [batch, 2c, n, k]   [arXiv:1801.07829]."""
    batch, c, n = x.shape
    first = torch.arange(batch, device=x.device).view(-1, 1, 1) * n
    indices = (knn(x, k) + first).view(-1)
    rows = x.transpose(1, 2).contiguous()
    neighbors = rows.view(batch * n, c)[indices, :].view(batch, n, k, c)
    centers = rows.view(batch, n, 1, c).repeat(1, 1, k, 1)
    return torch.cat((neighbors - centers, centers), dim=3).permute(0, 3, 1, 2)


def activation(slope: float) -> nn.Module:
    """Leaky ReLU, or ReLU for slope 0."""
    return nn.LeakyReLU(slope, inplace=True) if slope > 0 else nn.ReLU(inplace=True)


class Block(nn.Module):
    """Dense layer on the channel axis, BatchNorm, leaky ReLU.

    `axes` is the number of axes after the channels: [batch, c], [batch, c, n] or [batch, c, n, k].
    """

    def __init__(self, inputs: int, outputs: int, axes: int, slope: float = 0.2, bias: bool = False):
        super().__init__()
        self.dense: nn.Linear | nn.Conv1d | nn.Conv2d = dense(inputs, outputs, axes, bias)
        self.norm = nn.BatchNorm2d(outputs) if axes == 2 else nn.BatchNorm1d(outputs)
        self.activation = activation(slope)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Apply to axis 1."""
        return self.activation(self.norm(self.dense(x)))


def dense(inputs: int, outputs: int, axes: int, bias: bool = False) -> nn.Linear | nn.Conv1d | nn.Conv2d:
    """A dense layer on axis 1 of an array with `axes` more axes."""
    if axes == 0:
        return nn.Linear(inputs, outputs, bias=bias)
    convolution = nn.Conv1d if axes == 1 else nn.Conv2d
    return convolution(inputs, outputs, kernel_size=1, bias=bias)


class EdgeConv(Block):
    """max_j LeakyReLU(BN(W [x_j - x_i, x_i])), [batch, c, n] -> [batch, d, n]."""

    def __init__(self, inputs: int, outputs: int, k: int):
        super().__init__(2 * inputs, outputs, axes=2)
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and take the maximum over the neighbors."""
        return super().forward(edge_features(x, self.k)).max(dim=-1)[0]


class PooledBlock(Block):
    """A block, then the maximum over points."""

    def __init__(self, inputs: int, outputs: int, slope: float, bias: bool):
        super().__init__(inputs, outputs, axes=1, slope=slope, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, c, n] -> [batch, d]."""
        return F.adaptive_max_pool1d(super().forward(x), 1).squeeze(-1)


class PointTNet(nn.Module):
    """Matrix [c, c] for each cloud   [PointNet, arXiv:1612.00593, Sec. 4.2; widths of DefRec's code]."""

    block, pooled_block = Block, PooledBlock  # what `factorised.py` replaces

    def __init__(self, c: int, width: int, slope: float = 0.0):
        super().__init__()
        self.c = c
        self.conv1 = self.block(c, width // 16, 1, 0.0, True)
        self.conv2 = self.block(width // 16, width // 8, 1, 0.0, True)
        self.conv3 = self.pooled_block(width // 8, width, 0.0, True)
        self.fc1 = self.block(width, width // 2, 0, slope, True)
        self.fc2 = self.block(width // 2, width // 4, 0, slope, True)
        self.out = nn.Linear(width // 4, c * c)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, c, n] -> [batch, c, c]."""
        h = self.conv3(self.conv2(self.conv1(x)))
        return add_identity(self.out(self.fc2(self.fc1(h))), self.c)


class EdgeTNet(nn.Module):
    """Matrix [3, 3] for each cloud, from edge features   [arXiv:1801.07829; widths of DefRec's code]."""

    block, pooled_block = Block, PooledBlock

    def __init__(self, k: int, width: int):
        super().__init__()
        self.k = k
        self.conv1 = self.block(6, width // 16, 2)
        self.conv2 = self.block(width // 16, width // 8, 2)
        self.conv3 = self.pooled_block(width // 8, width, 0.2, False)
        self.fc1 = self.block(width, width // 2, 0)
        self.fc2 = self.block(width // 2, width // 4, 0, 0.2, True)
        self.out = nn.Linear(width // 4, 9)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, n] -> [batch, 3, 3]."""
        h = self.conv2(self.conv1(edge_features(x, self.k))).max(dim=-1)[0]
        return add_identity(self.out(self.fc2(self.fc1(self.conv3(h)))), 3)


def add_identity(entries: Tensor, c: int) -> Tensor:
    """Entries row by row, plus the identity, [batch, c, c]."""
    return entries.view(-1, c, c) + torch.eye(c, dtype=entries.dtype, device=entries.device)


class DGCNN(nn.Module):
    """Edge convolutions on a graph searched anew in every layer's features   [arXiv:1801.07829, Fig. 3]."""

    pooled_block, edge_conv, tnet_class = PooledBlock, EdgeConv, EdgeTNet
    channel_axis = 1

    def __init__(self, k: int, input_tnet: bool, layers: tuple[int, ...], embedding: int):
        super().__init__()
        self.tnet = self.tnet_class(k, embedding) if input_tnet else None
        self.names = [f"edge{i}" for i in range(1, len(layers) + 1)]
        for name, inputs, outputs in zip(self.names, (3, *layers[:-1]), layers, strict=True):
            self.add_module(name, self.edge_conv(inputs, outputs, k))
        self.agg = self.pooled_block(sum(layers), embedding, 0.2, False)
        self.local_width, self.width = sum(layers), embedding

    def forward(self, x: Tensor) -> Features:
        """Encode clouds [batch, 3, n]."""
        return self.convolve(x if self.tnet is None else torch.matmul(self.tnet(x), x))

    def convolve(self, x: Tensor) -> Features:
        """The edge convolutions and the last layer."""
        outputs = []
        for name in self.names:
            x = getattr(self, name)(x)
            outputs.append(x)
        return Features(self.agg(torch.cat(outputs, dim=self.channel_axis)), outputs)


class PointNet(nn.Module):
    """The same dense layers on every point, and a maximum over points   [arXiv:1612.00593, Fig. 2]."""

    block, pooled_block, tnet_class = Block, PooledBlock, PointTNet

    def __init__(
        self,
        input_tnet: bool,
        feature_tnet: bool,
        layers: tuple[int, ...],
        embedding: int,
        negative_slope: float = 0.0,
        head_bias: bool = False,
    ):
        super().__init__()
        self.head_options = negative_slope, head_bias
        self.tnet1 = self.tnet_class(3, embedding, negative_slope) if input_tnet else None
        self.tnet2 = self.tnet_class(layers[1], embedding, negative_slope) if feature_tnet else None
        self.names = [f"conv{i}" for i in range(1, len(layers) + 1)]
        for name, inputs, outputs in zip(self.names, (3, *layers[:-1]), layers, strict=True):
            self.add_module(name, self.block(inputs, outputs, 1, 0.0, True))
        self.agg = self.pooled_block(layers[-1], embedding, 0.0, True)
        self.local_width, self.width = sum(layers), embedding

    def forward(self, x: Tensor) -> Features:
        """Encode clouds [batch, 3, n]."""
        if self.tnet1 is not None:
            x = self.transform(x, self.tnet1)
        outputs = []
        for name in self.names:
            x = getattr(self, name)(x)
            outputs.append(x)
            if name == "conv2" and self.tnet2 is not None:
                x = self.transform(x, self.tnet2)
        return Features(self.agg(x), outputs)

    def transform(self, x: Tensor, tnet: nn.Module) -> Tensor:
        """Row vectors times the cloud's matrix."""
        return torch.matmul(tnet(x).transpose(1, 2), x)


class ClassificationHead(nn.Module):
    """Embedding -> two hidden layers with dropout -> logits."""

    block = Block

    def __init__(self, inputs: int, classes: int, slope: float, first_bias: bool, dropout: float):
        super().__init__()
        self.fc1 = self.block(inputs, inputs // 2, 0, slope, first_bias)
        self.fc2 = self.block(inputs // 2, inputs // 4, 0, slope, True)
        self.out = nn.Linear(inputs // 4, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedding: Tensor) -> Tensor:
        """[batch, d] -> [batch, classes]."""
        h = self.dropout(self.fc1(embedding))
        return self.out(self.dropout(self.fc2(h)))


class ReconstructionHead(nn.Module):
    """Per-point features and the repeated embedding -> a point per point   [DefRec, arXiv:2003.12641]."""

    block = Block

    def __init__(self, local: int, embedding: int, dropout: float):
        super().__init__()
        width = embedding // 4
        self.conv1 = self.block(local + embedding, width, 1, 0.0)
        self.conv2 = self.block(width, width, 1, 0.0)
        self.conv3 = self.block(width, embedding // 8, 1, 0.0)
        self.out = dense(embedding // 8, 3, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Features) -> Tensor:
        """Reconstruct, [batch, 3, n]."""
        local = torch.cat(features.layers, dim=1)
        repeated = features.embedding.unsqueeze(2).repeat(1, 1, local.shape[2])
        h = self.dropout(self.conv1(torch.cat((local, repeated), dim=1)))
        return self.out(self.conv3(self.dropout(self.conv2(h))))


class Network(nn.Module):
    """Encoder, classification head and DefRec's head; clouds come and go as [batch, n, 3]."""

    dgcnn, pointnet = DGCNN, PointNet
    classification_head, reconstruction_head = ClassificationHead, ReconstructionHead

    def __init__(self, encoder: dict[str, Any], classes: int, dropout: float, pretext_dropout: float):
        super().__init__()
        options = {name: value for name, value in encoder.items() if name != "name"}
        kind = encoder["name"]
        if kind not in ENCODERS:
            raise ValueError(f"config.encoder.name = {kind!r}: the reference has {', '.join(ENCODERS)}.")
        is_dgcnn = kind == "dgcnn"
        self.encoder = (self.dgcnn if is_dgcnn else self.pointnet)(**options)
        slope, bias = (0.2, True) if is_dgcnn else self.encoder.head_options
        width = self.encoder.width
        self.head = self.classification_head(width, classes, slope, bias, dropout)
        self.pretext = self.reconstruction_head(self.encoder.local_width, width, pretext_dropout)

    def forward(self, points: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        return self.classify(points)

    def classify(self, points: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        return self.head(self.encoder(points.transpose(1, 2)).embedding)

    def reconstruct(self, points: Tensor) -> Tensor:
        """The original of deformed clouds, [batch, n, 3]."""
        return self.pretext(self.encoder(points.transpose(1, 2))).transpose(1, 2)


class Activated(nn.Module):
    """A dense layer and leaky ReLU, under the name that DefRec's code gives the layer: `conv.0`, `fc.0`."""

    def __init__(self, name: str, inputs: int, outputs: int, axes: int, bias: bool):
        super().__init__()
        self.add_module(name, nn.Sequential(dense(inputs, outputs, axes, bias), activation(0.2)))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to axis 1."""
        (layers,) = self.children()
        return layers(x)


class PlainEdgeTNet(nn.Module):
    """As `EdgeTNet`, without norms   [DefRec's code for PointSegDA]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d1 = Activated("conv", 6, 64, 2, False)
        self.conv2d2 = Activated("conv", 64, 128, 2, False)
        self.conv2d3 = Activated("conv", 128, 1024, 2, False)
        self.fc1 = Activated("fc", 1024, 512, 0, True)
        self.fc2 = Activated("fc", 512, 256, 0, True)
        self.fc3 = nn.Linear(256, 9)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, n] -> [batch, 3, 3]."""
        h = self.conv2d2(self.conv2d1(edge_features(x, EDGE_NEIGHBORS))).max(dim=-1, keepdim=True)[0]
        h = self.conv2d3(h).amax(dim=(2, 3))
        return add_identity(self.fc3(self.fc2(self.fc1(h))), 3)


class LinearEdges(nn.Module):
    """Dense layers of edges and a maximum over neighbors, three times; then one of points and theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = dense(6, 64, 2, True), dense(64, 64, 2, True)
        self.conv3, self.conv4 = dense(128, 64, 2, True), dense(64, 64, 2, True)
        self.conv5 = dense(128, 64, 2, True)
        self.conv6 = dense(192, 1024, 1, True)

    def forward(self, x: Tensor) -> Features:
        """Encode clouds [batch, 3, n]."""
        first = self.conv2(self.conv1(edge_features(x, EDGE_NEIGHBORS))).max(dim=-1)[0]
        second = self.conv4(self.conv3(edge_features(first, EDGE_NEIGHBORS))).max(dim=-1)[0]
        third = self.conv5(edge_features(second, EDGE_NEIGHBORS)).max(dim=-1)[0]
        layers = [first, second, third]
        return Features(self.conv6(torch.cat(layers, dim=1)).max(dim=-1)[0], layers)


class BiasedPointHead(nn.Module):
    """As `ReconstructionHead`, with biases and any number of outputs."""

    def __init__(self, outputs: int, dropout: float):
        super().__init__()
        self.conv1, self.bn1 = dense(1216, 256, 1, True), nn.BatchNorm1d(256)
        self.conv2, self.bn2 = dense(256, 256, 1, True), nn.BatchNorm1d(256)
        self.conv3, self.bn3 = dense(256, 128, 1, True), nn.BatchNorm1d(128)
        self.conv4 = dense(128, outputs, 1, True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Features) -> Tensor:
        """[batch, outputs, n]."""
        local = torch.cat(features.layers, dim=1)
        h = torch.cat((local, features.embedding.unsqueeze(2).expand(-1, -1, local.shape[2])), dim=1)
        h = self.dropout(F.relu(self.bn1(self.conv1(h))))
        h = self.dropout(F.relu(self.bn2(self.conv2(h))))
        return self.conv4(F.relu(self.bn3(self.conv3(h))))


class SegmentationNetwork(nn.Module):
    """DefRec's network for PointSegDA, its parts named as in its state dicts; clouds are [batch, n, 3]."""

    def __init__(self, classes: int, dropout: float):
        super().__init__()
        self.input_transform_net, self.shared_layers = PlainEdgeTNet(), LinearEdges()
        self.seg, self.DefRec = BiasedPointHead(classes, dropout), BiasedPointHead(3, dropout)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [batch, n, classes], rebuilt points [batch, n, 3], embedding [batch, 1024]."""
        x = points.transpose(1, 2)
        features = self.shared_layers(torch.matmul(self.input_transform_net(x), x))
        logits, rebuilt = self.seg(features), self.DefRec(features)
        return logits.transpose(1, 2), rebuilt.transpose(1, 2), features.embedding


def chamfer_distance(original: Tensor, prediction: Tensor, mask: Tensor) -> Tensor:
    """Masked Chamfer distance of each cloud [batch], from all differences [batch, n, n, 3], as released.

    (1/v) sum_{i in V} min_{j in V} |y_i - z_j|^2 + the same from prediction to original, v = |V|.
    [Achituve et al., arXiv:2003.12641]
    """
    return one_way(original, prediction, mask) + one_way(prediction, original, mask)


def one_way(queries: Tensor, candidates: Tensor, mask: Tensor) -> Tensor:
    """Mean over the masked queries of the squared distance to the nearest masked candidate."""
    n = queries.shape[1]
    first = queries.unsqueeze(1).repeat(1, n, 1, 1).transpose(1, 2)
    second = candidates.unsqueeze(1).repeat(1, n, 1, 1)
    distance = torch.norm(torch.add(first, torch.neg(second)), 2, dim=3) ** 2
    inside = mask.to(distance.dtype)
    distance = distance + 100 * (1 - inside).unsqueeze(1)  # farther than any candidate in the region
    nearest = torch.min(distance, dim=2)[0]
    # clamped, since the release divides 0 by 0 where no region qualified
    return (nearest * inside).sum(1) / inside.sum(1).clamp(min=1)
