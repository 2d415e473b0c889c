"""What every config file's argument chooses: a host method's published protocol, and parts in its place."""

from collections.abc import Callable
from types import SimpleNamespace

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
# options of every config file's argument, for `parse_arg`; empty: the method's own
OPTIONS = {"method": "defrec", "selection": "", "pretext": "", "combine": "", "pseudo_labels": ""}


def apply(config: ConfigDict, given: SimpleNamespace) -> ConfigDict:
    """`config` with the method's protocol, then with the parts that `given` (of `OPTIONS`) names besides.

    Raises:
      ValueError: an unknown method or part, or a selection where there is no pretext task to select for.
    """
    lookup(METHODS, given.method, "config option method")(config)
    for section in ("pretext", "combine", "pseudo_labels"):
        name = getattr(given, section)
        if name:
            choose(config, section, name)
    if given.selection:
        if config.pretext.name == "none" and given.selection != "none":
            task = "pretext=none is" if given.pretext else f"method={given.method} has"
            raise ValueError(
                f"config option selection={given.selection}: {task} no pretext task to select for."
            )
        config.selection.statistic = given.selection
    return config
