import pytest

from smdsb_jax.run.loop import train_and_evaluate
from tests.tiny_run import tiny_config


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory):
    """Two tiny runs, of seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("runs")
    return [str(train_and_evaluate(tiny_config(seed=s), folder / f"{s}").workdir) for s in range(2)]
