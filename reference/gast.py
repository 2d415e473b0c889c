"""GAST's network in PyTorch as released, its parts named as in its state dicts   [Zou et al., ICCV 2021].

Its T-Net, which no pass calls, and heads other than those of classes, turns and cells are left out.
"""

import torch
from torch import Tensor, nn

from reference.models import activation, dense, edge_features

TURNS, CELLS = 4, 27


class Edges(nn.Module):
    """max_j LeakyReLU(norm(W [x_j - x_i, x_i])), [batch, c, n] -> [batch, d, n]."""

    def __init__(self, inputs: int, outputs: int, k: int, points: int | None):
        super().__init__()
        norm = nn.BatchNorm2d(outputs) if points is None else nn.LayerNorm([outputs, points, k])
        self.conv = nn.Sequential(dense(2 * inputs, outputs, 2), norm, activation(0.2))
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and take the maximum over the neighbors."""
        return self.conv(edge_features(x, self.k)).max(dim=-1)[0]


class Hidden(nn.Module):
    """A hidden layer of a head: its rows are divided by their lengths first."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), activation(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, outputs]."""
        return self.fc(x / torch.linalg.vector_norm(x, dim=1, keepdim=True))


class ClassHead(nn.Module):
    """Embedding -> two hidden layers with dropout -> logits."""

    def __init__(self, inputs: int, classes: int, dropout: float):
        super().__init__()
        self.mlp1, self.mlp2 = Hidden(inputs, inputs // 2), Hidden(inputs // 2, inputs // 4)
        self.mlp3 = nn.Linear(inputs // 4, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedding: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, classes]."""
        return self.mlp3(self.dropout(self.mlp2(self.dropout(self.mlp1(embedding)))))


class LinearHead(nn.Module):
    """Embedding -> logits."""

    def __init__(self, inputs: int, classes: int):
        super().__init__()
        self.mlp1 = nn.Linear(inputs, classes)

    def forward(self, embedding: Tensor) -> Tensor:
        """[batch, inputs] -> [batch, classes]."""
        return self.mlp1(embedding)


class GASTNetwork(nn.Module):
    """Encoder and heads; clouds are [batch, n, 3]. `points`: LayerNorm for so many; None: BatchNorm."""

    def __init__(
        self,
        classes: int,
        dropout: float,
        layers: tuple[int, ...],
        embedding: int,
        k: int,
        points: int | None,
    ):
        super().__init__()
        self.names = [f"conv{i}" for i in range(1, len(layers) + 1)]
        for name, inputs, outputs in zip(self.names, (3, *layers[:-1]), layers, strict=True):
            self.add_module(name, Edges(inputs, outputs, k, points))
        self.conv5, self.bn5 = dense(sum(layers), embedding // 2, 1), nn.BatchNorm1d(embedding // 2)
        self.activation = activation(0.2)
        self.cls_C = ClassHead(embedding, classes, dropout)
        self.rotcls_C1, self.rotcls_C2 = LinearHead(embedding, TURNS), LinearHead(embedding, TURNS)
        self.defcls_C = LinearHead(embedding, CELLS)

    def embed(self, points: Tensor) -> Tensor:
        """[batch, n, 3] -> maxima and means [batch, embedding]."""
        x, outputs = points.transpose(1, 2), []
        for name in self.names:
            x = getattr(self, name)(x)
            outputs.append(x)
        last = self.activation(self.bn5(self.conv5(torch.cat(outputs, dim=1))))
        return torch.cat((last.amax(dim=2), last.mean(dim=2)), dim=1)

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Logits of the classes, of the turns about x and y, and of the cell."""
        embedding = self.embed(points)
        return {
            "head": self.cls_C(embedding),
            "about_x": self.rotcls_C1(embedding),
            "about_y": self.rotcls_C2(embedding),
            "cell": self.defcls_C(embedding),
        }
