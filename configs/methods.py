"""The published protocol of each host method: what `method=…` in a config file's argument sets."""

from collections.abc import Callable

from ml_collections import ConfigDict

from smdsb_jax import choose
from smdsb_jax.registry import lookup


def defrec(config: ConfigDict) -> None:
    """DefRec as its scripts train it, on both domains [Achituve et al., arXiv:2003.12641]."""
    choose(config, "pretext", "defrec")
    config.pretext.weight, config.classification.weight = 0.2, 0.8
    config.optimizer.update(
        {"name": "adam", "learning_rate": 1e-3, "weight_decay": 5e-5, "schedule": "cosine"}
    )


def defrec_pcm(config: ConfigDict) -> None:
    """DefRec with point cloud mixup of the source, its authors' best [Achituve et al., arXiv:2003.12641]."""
    defrec(config)
    config.classification.mixup = "pcm"


def source_only(config: ConfigDict) -> None:
    """No adaptation: classification on the source, stage 1 alone; the lower bound of every table."""
    defrec(config)
    choose(config, "pretext", "none")
    config.classification.weight = 1.0
    config.selection.statistic = "none"
    config.stages = (1,)


METHODS: dict[str, Callable[[ConfigDict], None]] = {
    "defrec": defrec,  # the default host
    "defrec_pcm": defrec_pcm,  # with mixed source clouds
    "source_only": source_only,  # the lower bound
}


def apply(config: ConfigDict, name: str, selection: str) -> ConfigDict:
    """`config` with the method's protocol and, for methods with a pretext task, a selection statistic.

    Raises:
      ValueError: an unknown method, or a selection for a method that has nothing to select for.
    """
    lookup(METHODS, name, "config option method")(config)
    if selection:
        if config.pretext.name == "none" and selection != "none":
            raise ValueError(
                f"config option selection={selection}: method={name} has no pretext task to select for."
            )
        config.selection.statistic = selection
    return config
