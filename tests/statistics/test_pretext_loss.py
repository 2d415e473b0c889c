from smdsb_jax.statistics import STATISTICS
from tests.statistics.made_samples import sample


def test_the_pretext_loss_as_it_is_and_as_it_is_asked_for():
    assert STATISTICS["pretext_loss"].score(sample(loss=0.25)) == 0.5
    assert [name for name, statistic in STATISTICS.items() if statistic.needs_pretext] == ["pretext_loss"]
