"""DefRec's deformation of a region, `volume_based_voxels`: as released and vectorised."""

import numpy as np
import torch
from torch import Tensor

CELLS = 3  # per axis, on [-1, 1]


def cell_of(points: Tensor) -> Tensor:
    """9 ix + 3 iy + iz on the grid over [-1, 1]^3, [batch, n]."""
    index = ((points + 1) * (CELLS / 2)).floor().clamp(0, CELLS - 1).long()
    return index[..., 0] * CELLS**2 + index[..., 1] * CELLS + index[..., 2]


def cell_centers(like: Tensor) -> Tensor:
    """Coordinates -2/3, 0 or 2/3 of each cell's center, x slowest, [27, 3]."""
    axis = (2 * torch.arange(CELLS, dtype=like.dtype, device=like.device) + 1) / CELLS - 1
    return torch.cartesian_prod(axis, axis, axis)


def deform_released(
    points: Tensor, min_points: int, variance: float, order: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Deform cloud by cloud, cell by cell, as the release does   [Achituve et al., arXiv:2003.12641].

    Returns the clouds [batch, n, 3] and the mask [batch, n] of the replaced points.
    """
    order = np.random.permutation(CELLS**3) if order is None else order  # noqa: NPY002 as released
    cells, centers = cell_of(points), cell_centers(points)
    points, mask = points.clone(), torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device)
    for b in range(points.shape[0]):
        for cell in order:
            inside = cells[b] == int(cell)
            count = int(inside.sum())
            if count >= min_points:
                center = centers[cell].cpu().numpy()
                noise = np.random.multivariate_normal(center, np.eye(3) * variance, count)  # noqa: NPY002
                points[b, inside] = torch.as_tensor(noise, dtype=points.dtype, device=points.device)
                mask[b, inside] = True
                break
    return points, mask


def deform_vectorised(
    points: Tensor, min_points: int, variance: float, order: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """The same distribution without a loop and without waiting for the device."""
    device = points.device
    ordered = torch.randperm(CELLS**3, device=device) if order is None else torch.as_tensor(order).to(device)
    cells = cell_of(points)
    counts = torch.zeros(points.shape[0], CELLS**3, dtype=torch.long, device=device)
    counts.scatter_add_(1, cells, torch.ones_like(cells))
    qualifies = counts[:, ordered] >= min_points
    rank = torch.arange(CELLS**3, device=device)
    first = torch.where(qualifies, rank, CELLS**3 - 1).amin(1)
    cell = ordered[first]
    mask = (cells == cell[:, None]) & qualifies.any(1, keepdim=True)
    noise = cell_centers(points)[cell][:, None, :] + variance**0.5 * torch.randn_like(points)
    return torch.where(mask[:, :, None], noise, points), mask
