import jax
import pytest

from smdsb_jax.export.stablehlo import stablehlo
from tests.export.small_model import NARROW, assert_same_logits, clouds, expected_logits, small_model
from tests.tiers import cases

pytest.importorskip("flatbuffers")


@pytest.mark.parametrize("encoder", cases(NARROW, "dgcnn"))
def test_the_file_alone_gives_the_logits_of_any_number_of_clouds(encoder, tmp_path):
    model = small_model(encoder)
    stablehlo(model, tmp_path / "model.bin")
    read = jax.export.deserialize(bytearray((tmp_path / "model.bin").read_bytes()))
    assert read.platforms == ("cpu", "cuda") and str(read.in_avals[0].shape) == "(batch, 600, 3)"
    expected = expected_logits(encoder)
    assert_same_logits(read.call(clouds()), expected)
    assert_same_logits(read.call(clouds()[1:]), expected[1:])
    if not model.network.task.per_point:  # without norms, a rounding that takes other neighbors is seen
        assert_same_logits(read.call(clouds()[1:2]), expected[1:2])
