from smdsb_jax.statistics import STATISTICS
from tests.statistics.made_samples import sample


def test_the_loss_as_it_is():
    assert STATISTICS["loss"].score(sample(loss=0.25)) == 0.25
