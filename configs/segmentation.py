"""What the method names mean where points have labels: the protocols published for PointSegDA."""

from collections.abc import Callable
from types import SimpleNamespace

from ml_collections import ConfigDict

from smdsb_jax import choose
from smdsb_jax.configs import methods

# MLSP's, by the target; ours for other data is FAUST's
COUNT_RADII = {"adobe": 0.0872, "faust": 0.091, "mit": 0.124, "scape": 0.115}


def defrec(config: ConfigDict) -> None:
    """DefRec in balls of radius 0.5, on both domains as SM-DSB has it [Achituve et al., arXiv:2003.12641].

    The original trains it on the target alone: `--config.pretext.on_source=False`.
    """
    methods.defrec(config)
    choose(config, "pretext", "defrec_radius")
    config.pretext.min_share = 20 / 2048  # 20 points, as released
    config.pretext.head_bias = True
    config.pretext.weight, config.classification.weight = 0.05, 0.95


def defrec_pcm(config: ConfigDict) -> None:
    """DefRec with mixed source clouds, each point under its own label; the default of its release."""
    defrec(config)
    config.classification.mixup = "pcm"


def mlsp(config: ConfigDict) -> None:
    """A masked cell's positions, counts and normals [Liang et al., ECCV 2022, as released for PointSegDA].

    On the target alone; under a selection on both domains. Its release has no self-training here.
    """
    defrec(config)
    choose(config, "pretext", "mlsp")
    config.pretext.update(
        {
            "position_weight": 0.02, "normal_weight": 0.02, "cardinality_weight": 0.02,
            "count_radius": COUNT_RADII.get(config.data.target, COUNT_RADII["faust"]),
            "count_width": 5, "count_shift": 10, "normal_neighbors": 10, "masked_weight": 2.0,
            "position_bias": True, "min_share": 40 / 2048,
        }
    )  # fmt: skip
    config.pretext.on_source = config.selection.statistic != "none"
    config.pretext.weight, config.classification.weight = 1.0, 0.98  # its weights are its own options


METHODS: dict[str, Callable[[ConfigDict], None]] = {
    "defrec": defrec,  # Table II's
    "defrec_pcm": defrec_pcm,  # with mixed source clouds
    "mlsp": mlsp,  # the text's
    "source_only": methods.source_only,  # the lower bound
    "oracle": methods.oracle,  # the upper bound: trained with target labels
}


def apply(config: ConfigDict, given: SimpleNamespace) -> ConfigDict:
    """`config` for labels of points, with what `given` (of `methods.OPTIONS`) names; stage 1 alone.

    As published; `--config.stages=(1,2)` adds a second one on pseudo-labels of points, an extension of ours,
    with a threshold of their confidence in `config.pseudo_labels.threshold`.
    """
    choose(config, "task", "segmentation")
    methods.apply(config, given, METHODS)
    config.stages = (1,)
    return config
