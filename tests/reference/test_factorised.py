"""The parts of the factorised variant that the comparison of whole steps does not reach."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the reference needs PyTorch: pip install torch")

import torch

from reference import factorised, models


@pytest.mark.parametrize("m", [1024, 320, 48, 50])
def test_top_of_groups_is_topk(m):
    values = torch.randn(64, m, generator=torch.Generator().manual_seed(0))
    found = factorised.top_of_groups(values, 20).sort(1)[0]
    assert torch.equal(found, values.topk(20, dim=1)[1].sort(1)[0])


def test_neighbors_are_those_of_the_plain_search():
    x = torch.randn(3, 320, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = factorised.nearest(x, 7) - torch.arange(3)[:, None, None] * 320
    assert torch.equal(found.sort(2)[0], models.knn(x.transpose(1, 2), 7).sort(2)[0])


def test_chamfer_distance_and_its_gradient_with_regions_of_different_and_no_size():
    rng = np.random.default_rng(0)
    original, prediction = (torch.tensor(rng.normal(size=(3, 40, 3))) for _ in range(2))
    mask = torch.tensor(rng.uniform(size=(3, 40)) < np.array([[0.3], [0.6], [0.0]]))
    found = []
    for chamfer in (models.chamfer_distance, factorised.chamfer_distance):
        leaf = prediction.clone().requires_grad_()
        distance = chamfer(original, leaf, mask)
        distance.sum().backward()
        assert leaf.grad is not None
        found.append((distance.detach(), leaf.grad))
    for plain, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)
    assert found[1][0][2] == 0 and not found[1][1][2].any()


def test_dropout_keeps_half_and_doubles_it():
    head = factorised.ReconstructionHead(8, 16, 0.5)
    torch.manual_seed(0)
    dropped = head.drop(torch.ones(4, 1000, 40))  # 40: not a multiple of 32
    assert dropped.unique().tolist() == [0, 2]
    assert abs(float(dropped.mean()) - 1) < 0.01
    assert abs(float(torch.corrcoef(dropped.view(-1, 40).T).fill_diagonal_(0).abs().max())) < 0.07
    head.eval()
    assert torch.equal(head.drop(torch.ones(2, 3, 4)), torch.ones(2, 3, 4))


def test_the_package_does_not_need_the_library():
    import subprocess
    import sys

    code = "import sys, reference; print([m for m in ('jax', 'smdsb_jax') if m in sys.modules])"
    root = factorised.__file__.rsplit("/", 2)[0]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
