"""PyTorch's precision, as it is set and as it is told; made-up GPUs, since there may be none."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks import with_torch  # noqa: E402  # it imports torch


@pytest.fixture(autouse=True)
def restored():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize("precision", with_torch.PRECISIONS.values())
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_it_reports_the_precision_it_is_set_to(precision, device):
    with_torch.set_precision(precision)
    assert with_torch.precision_of(device) == precision


def test_convolutions_of_another_precision_are_told():
    with_torch.set_precision("float32")
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    assert "True for convolutions" in with_torch.precision_of("cuda")
    assert with_torch.precision_of("cpu") == "float32"
