import jax
import numpy as np
import pytest

from smdsb_jax.export.network import logits_of
from smdsb_jax.export.stablehlo import stablehlo
from tests.export.small_model import NARROW, clouds, small_model
from tests.tiers import cases

pytest.importorskip("flatbuffers")


@pytest.mark.parametrize("encoder", cases(NARROW, "dgcnn"))
def test_the_file_alone_gives_the_logits_of_any_number_of_clouds(encoder, tmp_path):
    model = small_model(encoder)
    stablehlo(model, tmp_path / "model.bin")
    read = jax.export.deserialize(bytearray((tmp_path / "model.bin").read_bytes()))
    assert read.platforms == ("cpu", "cuda") and str(read.in_avals[0].shape) == "(batch, 600, 3)"
    expected = np.asarray(jax.jit(logits_of(model))(clouds()))
    assert np.ptp(expected, axis=0).max() > 0.05  # clouds are told apart
    np.testing.assert_allclose(read.call(clouds()), expected, atol=1e-4)
    np.testing.assert_allclose(read.call(clouds()[1:]), expected[1:], atol=1e-4)
    if not model.network.task.per_point:  # without norms, a rounding that takes other neighbors is seen
        np.testing.assert_allclose(read.call(clouds()[1:2]), expected[1:2], atol=1e-4)
