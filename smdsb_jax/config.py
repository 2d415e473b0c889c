"""Configuration: the argument string of a config file, the checks before any work, differences."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import jax
from ml_collections import ConfigDict

from smdsb_jax.combine import SPLITS
from smdsb_jax.datasets.readers.base import MOST_BYTES
from smdsb_jax.defaults import SECTIONS, choose, default_config, make
from smdsb_jax.optimizer import SCHEDULES
from smdsb_jax.registry import check_range, check_type, one_line, refuse_foreign, shown, suggest
from smdsb_jax.scores import SELECT_BY
from smdsb_jax.selection import (
    BOUNDS,
    DENOMINATORS,
    EXECUTIONS,
    POOL_STEPS,
    POOLED,
    SCOPES,
    SIDES,
    kept_count,
)
from smdsb_jax.statistics import Statistic, find_statistic
from smdsb_jax.trackers import find_tracker
from smdsb_jax.validators import find_validator

Config: TypeAlias = Any  # a ConfigDict; its nested fields have no useful static type

CHOICES: dict[str, Sequence[str]] = {
    "data.extra_classes": ("refuse", "unlabelled"),
    "data.subsample": ("fps", "uniform", "first"),
    "augment.rotate": ("z", "x", "none"),
    "classification.mixup": ("none", "pcm"),
    "saliency.mode": ("per_sample", "shared"),
    "selection.side": ("", *SIDES),
    "selection.scope": SCOPES,
    "selection.denominator": DENOMINATORS,
    "selection.execution": EXECUTIONS,
    "selection.bound": BOUNDS,
    "combine.split": SPLITS,
    "optimizer.name": ("adam", "adamw"),
    "optimizer.schedule": SCHEDULES,
    "stage2.schedule": ("", *SCHEDULES),
    "classification.label_weights": ("per_sample", "batch_mean"),
    "stage2.init": ("stage1", "fresh"),
    "matmul_precision": ("float32", "tensorfloat32", "bfloat16"),
}
RANGES: dict[str, tuple[float, float]] = {  # inclusive
    "seed": (0, 2**31 - 1),
    "data.points": (1, 2**24),
    "augment.elastic": (0, 1),
    "augment.occlusion": (0, 0.9),
    "augment.jitter_std": (0, 1),
    "augment.jitter_clip": (0, 1),
    "classification.weight": (0, 1e6),
    "classification.dropout": (0, 0.99),
    "classification.mixup_alpha": (1e-3, 1e6),
    "pretext.weight": (0, 1e6),
    "saliency.alpha": (0, 100),
    "selection.keep_ratio": (1e-6, 1),
    "optimizer.learning_rate": (0, 10),
    "optimizer.weight_decay": (0, 10),
    "batch_size": (1, 2**20),
    "accumulate": (1, 2**20),
    "stage1.steps": (1, 10**9),
    "stage2.steps": (1, 10**9),
    "log_every": (1, 10**9),
    "eval_every": (1, 10**9),
    "eval_batch_size": (1, 2**20),
    "keep_checkpoints": (1, 1000),
    "validators.clouds": (0, 10**9),
}
# Fields that do not change what a run computes: a resumed run may have others. `steps` may grow.
FREE_FIELDS = (
    "data.root",
    "data.cache",
    "log_every",
    "eval_every",
    "eval_batch_size",
    "select_by",
    "validators.names",
    "validators.clouds",
    "keep_checkpoints",
    "debug_nans",
    "tracker",
    "stages",
)


def parse_arg(arg: str, **defaults: Any) -> SimpleNamespace:
    """The argument string of a config file, `first,option=value,…`, typed by the defaults.

    The first word may stand without its name and then sets the first option.

    Raises:
      ValueError: an unknown option (the known ones are listed) or a value of the wrong type.
    """
    values = dict(defaults)
    for position, word in enumerate(w for w in arg.split(",") if w):
        name, equals, value = word.partition("=")
        if not equals and position == 0:
            name, value = next(iter(defaults)), word
        elif not equals:
            raise ValueError(f"config option {word!r}: give option=value.{suggest(word, defaults)}")
        if name not in defaults:
            raise ValueError(f"config option {name!r} is not known.{suggest(name, defaults)}")
        values[name] = _typed(name, value, defaults[name])
    return SimpleNamespace(**values)


def _typed(name: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"config option {name} = {value!r}: give true or false.")
        return value.lower() == "true"
    try:
        return type(default)(value)
    except ValueError:
        raise ValueError(f"config option {name} = {value!r}: give a {type(default).__name__}.") from None


def flatten(config: Config) -> dict[str, Any]:
    """`{"selection.keep_ratio": 0.7, …}`; of a section that holds nothing `{}`."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict | dict):
            flat |= {f"{name}.{inner}": v for inner, v in flatten(value).items()} if value else {name: {}}
        else:
            flat[name] = value
    return flat


def resolve(config: Config) -> Config:
    """A checked copy in which nothing is left to a default elsewhere.

    Raises:
      ValueError: an unknown or missing field, an unknown name, a wrong type, or an impossible value; the
        message names each such field and what is allowed.
    """
    expected, problems = _structure(config)
    problems = problems or _types(config, expected)
    problems = problems or _values(config)
    problems = problems or _combinations(config) or _entries(config)
    if problems:
        told = {problem.split(" ")[0].rstrip(":,"): problem for problem in reversed(problems)}
        raise ValueError("\n".join(map(one_line, reversed(told.values()))))  # of each field one
    config = ConfigDict(config.to_dict())
    for section, name in ((config.data, "root"), (config.data, "cache"), (config, "init_from")):
        if name in section:
            section[name] = os.path.expanduser(section[name])
    if config.selection.statistic != "none":
        statistic: Statistic = find_statistic(config.selection.statistic)
        bound = bool(config.selection.bound)  # high is good, and noise would spoil the bound
        config.selection.side = config.selection.side or ("high" if bound else statistic.side)
        shift = (0.0, 0.0) if bound else statistic.target_shift
        config.selection.target_shift = tuple(config.selection.target_shift) or shift
    config.validators.names = tuple(config.validators.names)
    return config


def recorded_validators(config: Config) -> dict[str, str]:
    """Name in records and in `select_by` of each validator → its name in `config.validators.names`."""
    names = config.validators.names if config.validators.clouds else ()
    return {name.rpartition(":")[2]: name for name in names}


def from_checkpoint(saved: Mapping[str, Any], allow: Collection[str], where: str | Path) -> Config:
    """The configuration that a checkpoint holds, for building what it names.

    Args:
      saved: as `checkpoint.Info` has it.
      allow: `package.module:name` of each part from outside the library that it may name.
      where: the run's workdir.

    Raises:
      ValueError: it names another; nothing was imported.
    """
    refuse_foreign(saved, allow, str(where))
    return ConfigDict(saved)


def _structure(config: Config) -> tuple[Config, list[str]]:
    """The defaults of the chosen entries; each section must have their fields, no others."""
    expected: Config = default_config()
    problems = [
        f"config.{name} = {shown(config[name])}: it is a section; give fields, as "
        f"config.{name}.{next(iter(of))}."
        for name, of in expected.items()
        if isinstance(of, ConfigDict) and not isinstance(config.get(name, of), ConfigDict)
    ]
    if problems:
        return expected, problems
    for section in SECTIONS:
        name = config.get(section, {}).get("name", "")
        try:
            check_type(f"{section}.name", name, "")
            choose(expected, section, name)
        except ValueError as error:
            problems.append(str(error))
            continue
        wanted, found = set(expected[section]), set(config[section])
        if wanted != found:
            how = f"in the config file's argument, as in configs/embedded.py:c2s,{section}={name}"
            problems.append(
                f"config.{section} has the fields {', '.join(sorted(found))}, but {name!r} takes "
                f"{', '.join(sorted(wanted))}. Choose it "
                f"{'with the config file of that data set' if section == 'data' else how}, or with "
                "smdsb_jax.choose."
            )
    own_only = {k: v for k, v in flatten(expected).items() if k.split(".")[0] not in SECTIONS}
    given = {k for k in flatten(config) if k.split(".")[0] not in SECTIONS}
    given -= {k for k in given if isinstance(_value(expected, k), ConfigDict)}  # one without its fields
    for k in [k for k in own_only if isinstance(_value(config, k), ConfigDict)]:  # a section in its place
        problems.append(f"config.{k} = {shown(_value(config, k).to_dict())}: it is a field, not a section.")
        given = {k} | {each for each in given if not each.startswith(f"{k}.")}
    given = {k if k.split(".")[0] in expected else k.split(".")[0] for k in given}
    missing = [k for k in own_only if k not in given]
    for section in dict.fromkeys(k.rpartition(".")[0] for k in missing):
        lacks = [k for k in missing if k.rpartition(".")[0] == section]
        several = f"config{section and '.'}{section}: {', '.join(lacks)} are"
        which = several if lacks[1:] else f"config.{lacks[0]} is"
        problems.append(f"{which} missing. Start from smdsb_jax.default_config().")
    problems += [
        f"config.{k} is not known.{suggest(k, own_only if '.' in k else expected)}"
        for k in given - own_only.keys()
    ]
    return expected, problems


def _types(config: Config, expected: Config) -> list[str]:
    given, problems = flatten(config), []
    for field, default in flatten(expected).items():
        value = given[field] if field in given else _value(config, field)  # else a section in its place
        problems += _error_of(check_type, field, value, default)
    return problems


def _value(config: Config, field: str) -> Any:
    """What stands under a dotted name, if there is something."""
    for name in field.split("."):
        config = config.get(name) if isinstance(config, ConfigDict) else None
    return config


def _values(config: Config) -> list[str]:
    flat = flatten(config)
    problems = [
        f"config.{field} = {shown(flat[field])}: one of {', '.join(repr(c) for c in choices)}."
        for field, choices in CHOICES.items()
        if flat[field] not in choices
    ]
    for field, (low, high) in RANGES.items():
        problems += _error_of(check_range, field, flat[field], low, high)
    return problems


def _entries(config: Config) -> list[str]:
    """Each chosen entry is made once, since it knows which of its options are impossible."""
    problems: list[str] = []
    for section in ("task", "pretext", "combine", "pseudo_labels"):
        problems += _error_of(make, config, section)
    problems += _error_of(_check_encoder, config)
    if config.selection.statistic != "none":
        problems += _error_of(find_statistic, config.selection.statistic)
    of_validators = (_error_of(find_validator, name) for name in config.validators.names)
    problems += next(filter(None, of_validators), [])
    problems += _error_of(find_tracker, config.tracker)
    return problems or _combinations_of_entries(config)


def _check_encoder(config: Config) -> None:
    encoder = make(config, "encoder")
    if hasattr(encoder, "check"):  # a user's own may know no impossible options
        encoder.check(config.data.points)
    encoder.head(2, config.classification.dropout)


def _combinations_of_entries(config: Config) -> list[str]:
    """What the entries say of themselves, against other fields."""
    problems, pretext = [], make(config, "pretext")
    adapts = bool(pretext.names) or tuple(config.stages) != (1,)
    if config.data.source == config.data.target and adapts:
        problems.append(
            f"config.data.source and config.data.target are both {config.data.source!r}: give two domains, "
            "or method=oracle to train on the target's own labels."
        )
    if pretext.joint is not None and config.accumulate > 1:
        problems.append(
            f"config.accumulate = {config.accumulate}: the joint losses of config.pretext.name = "
            f"{config.pretext.name!r} are no sums over samples, which parts could add up. Set it to 1."
        )
    if pretext.joint is not None and not config.pretext.on_source:
        problems.append(
            f"config.pretext.on_source = False: {config.pretext.name!r} compares both domains. Set it to "
            "True."
        )
    rule, statistic = make(config, "pseudo_labels"), config.selection.statistic
    bound = config.selection.bound
    if statistic != "none" and (bound or find_statistic(statistic).needs_pretext):
        named = f"bound = {bound!r}" if bound else f"statistic = {statistic!r}"
        without = f"config.selection.{named} needs pretext losses of single samples: "
        if pretext.loss is None:
            problems.append(f"{without}config.pretext.name = {config.pretext.name!r} has none. Take another.")
        if not config.pretext.on_source:
            problems.append(f"{without}set config.pretext.on_source = True, or the source has none.")
    if make(config, "task").per_point:
        of_clouds = []
        if statistic != "none" and find_statistic(statistic).per_cloud:
            of_clouds.append((f"selection.statistic = {statistic!r}", "skewness"))
        if pretext.per_cloud:
            of_clouds.append((f"pretext.name = {config.pretext.name!r}", "defrec_radius"))
        if rule.per_cloud and 2 in config.stages:
            of_clouds.append((f"pseudo_labels.name = {config.pseudo_labels.name!r}", "max_confidence"))
        for name in config.validators.names:
            if find_validator(name).per_cloud:
                of_clouds.append((f"validators.names: {name!r}", "infomax"))
        problems += [
            f"config.{field} needs one label per cloud; with config.task.name = {config.task.name!r} each "
            f"point has one. Take another, as {other}."
            for field, other in of_clouds
        ]
    if rule.may_leave_out and config.saliency.mode == "shared":
        problems.append(
            "config.saliency.mode = 'shared' has no gradient of clouds that config.pseudo_labels leaves out, "
            "as below a threshold. Use per_sample."
        )
    known = (*SELECT_BY, *recorded_validators(config))
    if config.select_by not in known:
        problems.append(
            f"config.select_by = {config.select_by!r}: one of {', '.join(known)}; a validator is recorded if "
            "config.validators.names has it and config.validators.clouds is not 0."
        )
    return problems


def _combinations(config: Config) -> list[str]:
    selection, scale = config.selection, tuple(config.augment.scale)
    recorded = [name.rpartition(":")[2] for name in config.validators.names]
    devices, per_domain, parts = jax.device_count(), domain_batch_size(config), max(config.accumulate, 1)
    kept = kept_count(selection.keep_ratio, per_domain) if 0 < selection.keep_ratio <= 1 else per_domain
    checks: list[tuple[bool, str]] = [
        (
            tuple(config.stages) not in ((1,), (2,), (1, 2)),
            f"config.stages = {config.stages}: (1,), (2,) or (1, 2).",
        ),
        (
            tuple(config.stages) == (2,) and not config.init_from,
            "config.stages = (2,) needs config.init_from: a run's workdir, one checkpoint of it, or a file "
            "of weights.",
        ),
        (
            len(scale) != 2 or not 0 < scale[0] <= scale[-1],
            f"config.augment.scale = {scale}: two factors above 0, as (0.7, 1.5), the smaller first.",
        ),
        (
            selection.freeze_unlabelled and selection.scope == "pooled",
            "config.selection.freeze_unlabelled draws within the target: set config.selection.scope = "
            "'per_domain'.",
        ),
        (
            bool(selection.bound) and selection.statistic == "none",
            "config.selection.bound ranks what is selected: set config.selection.statistic, or "
            "selection=oracle_dot_o in the config file's argument.",
        ),
        (
            selection.bound in POOLED and config.eval_every % POOL_STEPS != 0,
            f"config.eval_every = {config.eval_every}: {selection.bound} keeps its pool for {POOL_STEPS} "
            f"steps, so that checkpoints are of multiples of {POOL_STEPS}. Give such a number.",
        ),
        (
            config.batch_is_total and config.batch_size % 2 != 0,
            f"config.batch_size = {config.batch_size} is the total over both domains: give an even number.",
        ),
        (
            domain_batch_size(config) < 2,
            "config.batch_size gives one cloud per domain: BatchNorm needs at least 2.",
        ),
        (
            parts > 1 and (per_domain % parts != 0 or per_domain // parts < 2),
            f"config.accumulate = {parts}: config.batch_size = {config.batch_size} gives {per_domain} clouds "
            "per domain; give a divisor of that which leaves 2 clouds at least for BatchNorm.",
        ),
        (
            parts > 1 and per_domain % (parts * devices) != 0,
            f"config.accumulate = {parts}: {per_domain} clouds per domain in {parts} parts cannot be divided "
            f"over {devices} devices. Give a multiple of {parts * devices} per domain.",
        ),
        (
            selection.execution == "gather" and kept % parts != 0,
            f"config.accumulate = {parts}: config.selection.execution = 'gather' keeps {kept} clouds by "
            f"config.selection.keep_ratio = {selection.keep_ratio} and config.batch_size = "
            f"{config.batch_size}, which cannot be divided by it. Change one of the three, or use 'mask'.",
        ),
        (
            domain_batch_size(config) % devices != 0,
            f"config.batch_size: {domain_batch_size(config)} clouds per domain cannot be divided over "
            f"{devices} devices. Give a multiple of {devices} per domain.",
        ),
        *(
            (
                clouds * config.data.points * 12 > MOST_BYTES,  # float32 coordinates alone
                f"config.{field} = {config[field]}: so many clouds of config.data.points = "
                f"{config.data.points} take more than {MOST_BYTES >> 30} GiB. Give fewer of either.",
            )
            for field, clouds in (
                ("batch_size", domain_batch_size(config)),
                ("eval_batch_size", config.eval_batch_size),
            )
        ),
        (
            config.classification.mixup == "pcm" and config.saliency.mode == "shared",
            "config.saliency.mode = 'shared' would score mixed clouds under classification.mixup = 'pcm'. "
            "Use per_sample.",
        ),
        (
            config.classification.weight == 0 and config.saliency.mode == "shared",
            "config.classification.weight = 0 leaves no gradient for config.saliency.mode = 'shared'. Use "
            "per_sample.",
        ),
        (
            selection.execution == "gather" and selection.scope == "pooled",
            "config.selection.execution = 'gather' needs a fixed number of samples per domain: set "
            "config.selection.scope = 'per_domain'.",
        ),
        (
            len(set(recorded)) < len(recorded) or not set(recorded).isdisjoint(SELECT_BY),
            f"config.validators.names = {tuple(config.validators.names)}: each needs a name of its own, none "
            f"of {', '.join(SELECT_BY)}.",
        ),
        (
            config.validators.clouds == 1,
            "config.validators.clouds = 1: give at least 2, or 0 to record none.",
        ),
        (
            len(selection.target_shift) not in (0, 2),
            f"config.selection.target_shift = {tuple(selection.target_shift)}: (mean, std), or () for the "
            "statistic's own.",
        ),
        (
            len(selection.target_shift) == 2 and selection.target_shift[-1] < 0,
            "config.selection.target_shift: the standard deviation cannot be negative.",
        ),
    ]
    return [message for wrong, message in checks if wrong]


def _error_of(check: Callable[..., Any], *arguments: Any) -> list[str]:
    try:
        check(*arguments)
    except ValueError as error:
        return [str(error)]
    return []


# Fields of earlier revisions: old name → name, and value by the old one's and the whole saved configuration
RENAMED: dict[str, tuple[str, Callable[[Any, dict[str, Any]], Any]]] = {
    "pretext.min_points": ("pretext.min_share", lambda value, saved: value / saved["data.points"]),
}


def modernize(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that an earlier revision saved, nested, with the fields of this one.

    A renamed field is taken under its old name; a missing one has its default, which is what there was before
    the field. Nothing is imported: the section of an entry that is not the library's own stays as it is.
    """
    flat = flatten(saved)
    for old, (new, convert) in RENAMED.items():
        if old in flat:
            flat[new] = convert(flat[old], flat)
            del flat[old]
    known: Config = default_config()
    foreign = [s for s in SECTIONS if ":" in flat.get(f"{s}.name", "")]
    for section in SECTIONS:
        if section not in foreign:
            choose(known, section, flat.get(f"{section}.name", known[section].name))
    missing = {
        field: value
        for field, value in flatten(known).items()
        if field not in flat and field.split(".")[0] not in foreign
    }
    nested: dict[str, Any] = {}
    for field, value in (missing | flat).items():
        *sections, name = field.split(".")
        holder = nested
        for section in sections:
            holder = holder.setdefault(section, {})
        holder[name] = value
    return nested


def domain_batch_size(config: Config) -> int:
    """Clouds of one domain per step."""
    return config.batch_size // 2 if config.batch_is_total else config.batch_size


def trajectory_differences(saved: dict[str, Any], config: Config, stage: int) -> list[str]:
    """Fields whose new value would change what a run computes, as `field: saved -> new`.

    More steps are no such change for the stage that a run is in or has before it.
    """
    old, new = flatten(saved), flatten(config)
    differences = []
    for field in sorted(old.keys() | new.keys()):
        before, after = old.get(field), new.get(field)
        if before == after or field in FREE_FIELDS:
            continue
        if field == f"stage{stage}.steps" or (field == "stage2.steps" and stage == 1):
            continue
        differences.append(f"config.{field}: {before!r} -> {after!r}")
    return differences
