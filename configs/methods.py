"""What every config file's argument chooses: a host method's published protocol, and parts in its place."""

from collections.abc import Callable, Mapping
from types import MappingProxyType, SimpleNamespace

from ml_collections import ConfigDict

from smdsb_jax import choose
from smdsb_jax.defaults import make
from smdsb_jax.registry import lookup

COUNT_RADII = {"modelnet": 0.13, "shapenet": 0.12, "scannet": 0.135}  # MLSP's, by the target


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


def gast(config: ConfigDict) -> None:
    """Rotations of mixed clouds, distorted cells, rounds of self-paced labels [GAST; Zou et al., ICCV 2021].

    Its release trains stage 2 without pretext tasks; with a selection they stay, or it would have nothing to
    select for.
    """
    defrec(config)
    config.stage2.pretext = config.selection.statistic != "none"
    choose(config, "pretext", "gast")  # its two weights are its own options
    config.pretext.weight, config.classification.weight = 1.0, 0.5
    choose(config, "pseudo_labels", "self_paced")
    config.stage2.schedule = "waves"


def self_distillation(config: ConfigDict) -> None:
    """Self-distillation, then labels refined on a graph [Cardace et al., WACV 2023, arXiv:2210.08226]."""
    choose(config, "pretext", "self_distillation")
    choose(config, "pseudo_labels", "graph")
    config.pretext.weight = config.classification.weight = 1.0
    config.optimizer.update(
        {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4, "schedule": "one_cycle"}
    )
    config.stage2.init = "fresh"
    config.data.subsample = "uniform"
    scans = config.data.target in ("scannet", "scan")
    config.augment.update(
        {
            "rotate_target": False,
            "elastic": 0.95,
            "scale": (0.7, 1.5),
            "occlusion": 0.3 if scans else 0.0,  # exactly where the target is of scans
            "jitter_clip": 0.05,
        }
    )


def mlsp(config: ConfigDict) -> None:
    """A masked cell's positions, counts and normals, then two rounds of labels [Liang et al., ECCV 2022].

    As its release's script: mixed source clouds, the tasks on the target alone. Under a selection they are on
    both domains, and stay in stage 2, where the release has none. The release does not mix in stage 2.
    """
    defrec_pcm(config)
    selects = config.selection.statistic != "none"
    config.stage2.pretext = selects
    choose(config, "pretext", "mlsp")  # its weights are its own options
    config.pretext.on_source = selects
    config.pretext.weight, config.classification.weight = 1.0, 0.5  # of the class 1 - that of the positions
    config.pretext.count_radius = COUNT_RADII.get(config.data.target, config.pretext.count_radius)
    choose(config, "pseudo_labels", "self_paced")
    # 1.5492 is the score of ten classes where one has 0.95 and another the rest
    config.pseudo_labels.update({"score": "double_softmax", "threshold": 1.5492, "step": 0.0, "rounds": 2})
    config.stage2.schedule = "wave"


def glrv(config: ConfigDict) -> None:
    """GLRV-like: scales, squeezed regions, voted labels, all weights ours [after Fan et al., CVPR 2022].

    Stage 1 is the warm-up without votes, stage 2 goes on from it, with new votes in every epoch. What was
    meant as one cosine over both is one for each. The tasks are the target's, or both domains' under a
    selection.
    """
    defrec(config)
    choose(config, "pretext", "glrv")  # its two weights are its own options
    config.pretext.weight = config.classification.weight = 1.0
    config.pretext.on_source = config.selection.statistic != "none"
    choose(config, "pseudo_labels", "voted")
    config.stage2.update({"init": "stage1", "pretext": True})


def reconstructing_space(config: ConfigDict) -> None:
    """The jigsaw in DefRec's framework, its baseline: the target alone, or both domains under a selection.

    DefRec's authors tuned its weight per method; 0.2 is DefRec's own. [Sauder & Sievers, NeurIPS 2019,
    arXiv:1901.08396; Achituve et al., arXiv:2003.12641]
    """
    defrec(config)
    choose(config, "pretext", "reconstructing_space")
    config.pretext.weight = 0.2
    config.pretext.on_source = config.selection.statistic != "none"


def puzzle(config: ConfigDict) -> None:
    """The jigsaw beside the classification, on both domains [Alliegro et al., arXiv:2004.07392].

    Its weight was not found: half of the classification's, a mean per domain.
    """
    reconstructing_space(config)
    config.pretext.on_source = True
    config.pretext.weight, config.classification.weight = 0.5, 1.0


def implicit(config: ConfigDict) -> None:
    """Distance fields beside the classes, as GAST trains [Shen et al., CVPR 2022, arXiv:2112.09343].

    Its release has the task alone, and names GAST for what follows: optimizer, schedule and the rounds of
    self-paced labels are that one's. The weight was not found: 1, a mean per domain.
    """
    gast(config)
    choose(config, "pretext", "implicit")
    config.pretext.weight = config.classification.weight = 1.0


def pointdan(config: ConfigDict) -> None:
    """PointDAN with one update per step [Qin et al., NeurIPS 2019, arXiv:1911.02744].

    Published with `encoder=node_pointnet`, 64 clouds per domain, and twice this rate for the heads. The
    cross-entropies of both heads weigh half where the target is of scans, and from ScanNet to ShapeNet.
    Clouds are cut, lie and turn as the other methods': its release takes their first points as the files
    have them, turned about x, which makes its numbers another benchmark's.
    """
    choose(config, "pretext", "pointdan")
    halved = config.data.target in ("scannet", "scan") or (
        (config.data.source, config.data.target) == ("scannet", "shapenet")
    )
    config.classification.weight = config.pretext.class_weight = 0.5 if halved else 1.0
    config.pretext.weight = 1.0  # its losses have weights of their own
    config.optimizer.update(
        {"name": "adam", "learning_rate": 1e-4, "weight_decay": 5e-4, "schedule": "cosine"}
    )
    config.augment.jitter_clip = 0.05


def dfan(config: ConfigDict) -> None:
    """DFAN-like: its two branches reconstructed, in DefRec's protocol [after doi:10.1109/TGRS.2022.3171038].

    Neither loss is a sum over samples: under a selection the mask weighs the samples.
    """
    defrec(config)
    choose(config, "pretext", "dfan")
    config.pretext.weight = config.classification.weight = 1.0


def pcfea(config: ConfigDict) -> None:
    """PCFEA, then rounds of labels above a rising threshold [Wang et al., ECCV 2024, arXiv:2311.16474].

    Published with 8 clouds per domain and `encoder.input_tnet=False`; its release's numbers are stage 1's, of
    checkpoints chosen by labels of the target. Its stage 2 trains on the target alone, here on the source
    too, and under a selection with the task's losses, which start again.
    """
    gast(config)
    choose(config, "pretext", "pcfea")  # its two weights are its own options
    config.pretext.weight = config.classification.weight = 1.0
    config.task.head = "linear"
    config.pseudo_labels.step = 0.01


def source_only(config: ConfigDict) -> None:
    """No adaptation: classification on the source, stage 1 alone; the lower bound of every table."""
    defrec(config)
    choose(config, "pretext", "none")
    config.classification.weight = 1.0
    config.selection.statistic = "none"
    config.stages = (1,)


def oracle(config: ConfigDict) -> None:
    """Classification on the *target* with its true labels: the upper bound of every table, no adaptation."""
    source_only(config)
    config.data.source = config.data.target


METHODS: dict[str, Callable[[ConfigDict], None]] = {
    "defrec": defrec,  # the default host
    "defrec_pcm": defrec_pcm,  # with mixed source clouds
    "gast": gast,  # rotations and distortions, self-paced labels
    "self_distillation": self_distillation,  # averaged teacher, labels refined on a graph
    "mlsp": mlsp,  # positions, counts and normals of a masked cell, self-paced labels
    "glrv": glrv,  # scales and squeezed regions, voted labels: after an abstract
    "reconstructing_space": reconstructing_space,  # a jigsaw of cells, as DefRec's baseline
    "puzzle": puzzle,  # the same on both domains with equal rights
    "implicit": implicit,  # distance fields, self-paced labels
    "pointdan": pointdan,  # alignment: heads that disagree on the target, nodes that are alike
    "dfan": dfan,  # DFAN-like: distances of embeddings and of nodes, a reconstruction
    "pcfea": pcfea,  # source features in the target's style, prototypes, self-paced labels
    "source_only": source_only,  # the lower bound
    "oracle": oracle,  # the upper bound: trained with target labels
}
PRESETS = {  # selections that are more than a statistic
    # half of each domain at random, in stage 1 of the target too [SM-DSB, arXiv:2504.15796, I]
    "pilot": {"statistic": "random", "keep_ratio": 0.5, "scope": "per_domain", "freeze_unlabelled": True},
    # by each sample's own gradient: beside that of the classes, and what it does to the target's true labels
    "cos_c": {"statistic": "skewness", "bound": "cos_c"},
    "dot_c": {"statistic": "skewness", "bound": "dot_c"},
    "oracle_gain": {"statistic": "skewness", "bound": "oracle_gain"},
    "oracle_dot_o": {"statistic": "skewness", "bound": "oracle_dot_o"},
}
# options of every config file's argument, for `parse_arg`; empty: the method's own
OPTIONS = {"method": "defrec", "selection": "", "task": "", "pretext": "", "combine": "", "pseudo_labels": ""}


def apply(
    config: ConfigDict,
    given: SimpleNamespace,
    known: Mapping[str, Callable[[ConfigDict], None]] = MappingProxyType(METHODS),
) -> ConfigDict:
    """`config` with the selection, the method's protocol, and the parts that `given` (of `OPTIONS`) names.

    `known` are the methods: those of classification, or another benchmark's.

    Raises:
      ValueError: an unknown method or part, or a selection where there is no pretext task to select for.
    """
    if given.selection:  # first, for a method may ask whether there is one
        config.selection.update(PRESETS.get(given.selection, {"statistic": given.selection}))
    lookup(known, given.method, "config option method")(config)
    for section in ("task", "pretext", "combine", "pseudo_labels"):
        name = getattr(given, section)
        if name:
            choose(config, section, name)
    if given.selection not in ("", "none") and not make(config, "pretext").names:
        task = "pretext=none is" if given.pretext else f"method={given.method} has"
        raise ValueError(f"config option selection={given.selection}: {task} no pretext task to select for.")
    return config
