"""Every configuration field once: its default, its unit and why it has this value."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from smdsb_jax.combine import COMBINE, Combine
from smdsb_jax.datasets import DATASETS, Domain
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.pretext import PRETEXT, Pretext
from smdsb_jax.pseudo_labels import PSEUDO_LABELS, PseudoLabelRule
from smdsb_jax.registry import Kind, function_returning, lookup, options, subclass_of
from smdsb_jax.tasks import TASKS, Task

# Sections whose fields are the options of a chosen entry, beside the section's own fields.
SECTIONS: dict[str, Mapping[str, Callable[..., Any]]] = {
    "data": DATASETS,
    "task": TASKS,
    "encoder": ENCODERS,
    "pretext": PRETEXT,
    "combine": COMBINE,
    "pseudo_labels": PSEUDO_LABELS,
}
# What a user's own entry of a section must be.
OWN_ENTRIES: dict[str, Kind] = {
    "data": function_returning(Domain),
    "task": function_returning(Task),
    "encoder": subclass_of(nn.Module),
    "pretext": function_returning(Pretext),
    "combine": function_returning(Combine),
    "pseudo_labels": function_returning(PseudoLabelRule),
}
OWN_FIELDS: dict[str, tuple[str, ...]] = {
    "data": ("name", "root", "source", "target", "source_labels", "extra_classes", "points", "subsample"),
    "task": ("name",),
    "encoder": ("name",),
    "pretext": ("name", "weight", "on_source"),
    "combine": ("name", "split"),
    "pseudo_labels": ("name",),
}


def default_config() -> ConfigDict:
    """SM-DSB with DefRec and DGCNN on the embedded data; units and reasons are beside each field."""
    config = ConfigDict()
    config.seed = 0  # of parameters, augmentation, dropout, data order: everything random

    config.data = ConfigDict()
    config.data.root = ""  # folder of the data set; the embedded one needs none
    config.data.source = "catalog"  # labelled domain
    config.data.target = "scan"  # unlabelled domain; its labels are read for evaluation only
    config.data.source_labels = ""  # npz with others for the source's clouds, as reverse validation gives
    config.data.extra_classes = "refuse"  # of the target, beyond the source's; unlabelled: trained on as such
    config.data.points = 1024  # points per cloud that the network sees
    config.data.subsample = "fps"  # fps (DefRec's loader), uniform (Self-dist) or first (PointDAN)

    config.augment = ConfigDict()  # of training clouds; evaluation sees them as stored
    config.augment.rotate = "z"  # random angle about this axis: z (up), x (PointDAN's) or none
    config.augment.rotate_target = True  # False: the source alone, as Self-distillation
    config.augment.elastic = 0.0  # probability of a smooth random distortion; Self-distillation: 0.95
    config.augment.scale = (1.0, 1.0)  # range of a random factor; Self-distillation: 0.7 to 1.5
    config.augment.occlusion = 0.0  # share of each source cloud cut off by a random plane, as a scan's view
    config.augment.jitter_std = 0.01  # per coordinate, in units of the cloud's radius
    config.augment.jitter_clip = 0.02  # largest jitter; PointDAN and Self-dist clip at 0.05

    config.task = ConfigDict()
    config.encoder = ConfigDict()
    config.classification = ConfigDict()
    config.classification.weight = 0.8  # of the classification loss; DefRec: 1 - pretext.weight
    config.classification.label_weights = "per_sample"  # how pseudo-labels' weights act; batch_mean: their
    # mean on all samples of the batch, as Self-distillation's release has it
    config.classification.dropout = 0.5  # in the classification head, all hosts
    config.classification.mixup = "none"  # pcm: DefRec's point cloud mixup on the source
    config.classification.mixup_alpha = 1.0  # the share is drawn from Beta(alpha, alpha), per batch

    config.pretext = ConfigDict()
    config.pretext.weight = 0.2  # of the pretext loss; DefRec's scripts (its trainer's default: 0.5)
    config.pretext.on_source = True  # SM-DSB needs it; DefRec's last release trains the target only

    config.saliency = ConfigDict()
    config.saliency.mode = (
        "per_sample"  # inference-mode gradient of each sample; or shared: from the class pass
    )
    config.saliency.alpha = 1.0  # exponent of the radius; the paper's (the DGCNN saliency script has 6)

    config.selection = ConfigDict()
    config.selection.statistic = "skewness"  # a name, package.module:function, or none: keep all
    config.selection.side = ""  # keep low or high scores; empty: the statistic's own side
    config.selection.keep_ratio = 0.7  # share kept; 0.3 is the paper's "mask percentage" read literally
    config.selection.scope = "pooled"  # rank source and target together (stage 2), or per_domain
    config.selection.denominator = "batch"  # frozen samples leave the others' weight as it is; or kept
    config.selection.target_shift = ()  # (mean, std) added to target scores; empty: the statistic's own
    config.selection.execution = "mask"  # gather runs the kept samples only (other BatchNorm statistics)

    config.selection.freeze_unlabelled = False  # stage 1: keep the ratio of the target too, at random
    config.selection.bound = ""  # no method: rank by each sample's own gradient, cos_c or dot_c, or by
    # oracle_dot_o or oracle_gain, which read the target's labels (docs/methods.md)

    config.combine = ConfigDict()
    config.combine.split = "task"  # what the rule merges: class and pretext gradients; domain or loss: the
    # latter's domains or single losses apart, each with a backward pass of its own
    config.pseudo_labels = ConfigDict()

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # adam: decay added to the gradient (DefRec); adamw: decoupled
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 5e-5
    config.optimizer.schedule = "cosine"  # to 0 over the stage; one_cycle, waves, wave or constant

    config.batch_size = 64  # clouds per step
    config.batch_is_total = True  # over both domains, as Self-dist's 32 + 32; False: per domain
    config.accumulate = 1  # parts of the batch, one after the other: less memory, BatchNorm of each part
    config.stages = (1, 2)  # (1,), (2,) with init_from, or both
    config.stage1 = ConfigDict({"steps": 40_000})  # optimizer updates; the paper's for DGCNN
    config.stage2 = ConfigDict({"steps": 40_000})
    config.stage2.init = "stage1"  # fine-tune the stage-1 network (SM-DSB); fresh: anew (Self-dist)
    config.stage2.pretext = True  # SM-DSB needs it; GAST's release trains stage 2 without
    config.stage2.schedule = ""  # of the learning rate; empty: optimizer.schedule
    config.init_from = ""  # a run's workdir, one checkpoint of it (workdir/checkpoints/STEP), or weights in a
    # file of safetensors (docs/export.md)

    config.tracker = "tensorboard"  # what gets the records beside metrics.jsonl: wandb, mlflow, none
    config.log_every = 50  # steps between records
    config.eval_every = 1000  # steps between evaluations, each with a checkpoint
    config.eval_batch_size = 64
    config.select_by = (
        "last"  # checkpoint that evaluation and tables take; source_val, a validator, or oracle
    )
    config.validators = ConfigDict()  # scores without target labels, recorded at every evaluation
    # of smdsb_jax.validators, or package.module:function; these need outputs only, and take no time
    config.validators.names = ("entropy", "diversity", "infomax", "snd", "bnm", "corr_c", "mano")
    config.validators.clouds = 64  # target training clouds, drawn once: a chunk of an evaluation; 0: none
    config.keep_checkpoints = 2  # latest ones kept, beside the best and the stage ends
    config.debug_nans = False  # stop at the first NaN of a step, and name the operation that makes it
    config.matmul_precision = "float32"  # as PyTorch's default; tensorfloat32 or bfloat16 are faster on GPUs

    choose(config, "data", "embedded")
    choose(config, "task", "classification")
    choose(config, "encoder", "dgcnn")
    choose(config, "pretext", "defrec")
    choose(config, "combine", "sum")
    choose(config, "pseudo_labels", "max_confidence")
    return config


def find_entry(section: str, name: str) -> Callable[..., Any]:
    """The entry of a section, or a user's own `package.module:name`.

    Raises:
      ValueError: no entry of this name, or one that is not what the section takes.
    """
    return lookup(SECTIONS[section], name, f"config.{section}.name", OWN_ENTRIES[section])


def choose(config: ConfigDict, section: str, name: str) -> ConfigDict:
    """Choose an entry: its options, with their defaults, replace those of the section's last entry.

    Raises:
      ValueError: no entry of this name.
    """
    entry = find_entry(section, name)
    chosen: Any = config[section]
    kept = {k: v for k, v in chosen.items() if k in OWN_FIELDS[section]}
    config[section] = ConfigDict(kept | {"name": name} | options(entry))
    return config


def make(config: Any, section: str) -> Any:
    """What the chosen entry of a section, not of `data`, makes of its options: an encoder, a task or a rule.

    The same of the same options: jax then knows its functions again, and compiles a step of them once.

    Raises:
      ValueError: no such entry, or an option that is impossible for it.
    """
    chosen = config[section]
    entry = find_entry(section, chosen.name)
    given = {k: v for k, v in chosen.items() if k not in OWN_FIELDS[section]}
    try:
        hash(tuple(given.values()))
    except TypeError:  # a list, as a user's own entry may take
        return entry(**given)
    return _made(entry, **given)


@functools.lru_cache(maxsize=256, typed=True)
def _made(entry: Callable[..., Any], **given: Any) -> Any:
    return entry(**given)
