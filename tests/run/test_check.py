import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax import choose, resolve
from smdsb_jax.build import build_parts
from smdsb_jax.run.check import check_parts
from smdsb_jax.run.loop import train_and_evaluate
from smdsb_jax.statistics import STATISTICS
from tests.tiny_run import tiny_config, tiny_segmentation


def checked(config, **selection):
    config.selection.update({"statistic": "tests.run.test_check:ours", **selection})
    config = resolve(config)
    check_parts(config, build_parts(config, 1, 7))


def test_every_statistic_scores_samples_of_either_task():
    for name, statistic in STATISTICS.items():
        checked(tiny_config(), statistic=name)
        if not statistic.per_cloud:
            checked(tiny_segmentation(), statistic=name)
    checked(tiny_config(), statistic="none")


def ours(sample):
    raise KeyError(f"nothing of {sample.logits.shape}")


def branch(sample):
    if sample.loss > 1:
        return sample.loss
    return -sample.loss


def host(sample):
    return jnp.asarray(np.median(sample.saliency))


def matrix(sample):
    return jnp.outer(sample.saliency, sample.saliency)


@pytest.mark.parametrize(
    "name, said",
    [
        ("ours", r"at tests/run/test_check\.py:\d+ \(ours\)\. KeyError: 'nothing of \(7,\)'"),
        ("matrix", r"sample\. .*return one fl"),  # of no line of its own
        ("branch", r"test_check\.py:\d+ \(branch\)\. TracerBool.*jnp\.where\(a, b, c\) in place of `if`"),
        ("host", r"test_check\.py:\d+ \(host\)\. TracerArray.*Take jax\.numpy in place of numpy"),
    ],
)
def test_one_that_cannot_is_refused_before_a_file_is_made(name, said, tmp_path):
    config = tiny_config(selection__statistic=f"tests.run.test_check:{name}")
    with pytest.raises(ValueError, match=f"test_check:{name}' cannot score a.*{said}") as error:
        train_and_evaluate(config, tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_an_option_that_the_network_does_not_fit_is_refused_before_a_file_is_made(tmp_path):
    config = choose(tiny_config(combine__split="task"), "combine", "gradnorm")
    config.combine.layer = "block9"
    with pytest.raises(ValueError, match="combine.layer = 'block9'"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
