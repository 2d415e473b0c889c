"""Configuration → the functions and constants of the step, and the state a stage starts from."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from smdsb_jax.augment import Augment
from smdsb_jax.config import Config
from smdsb_jax.datasets.domain import UNLABELLED, Domain, with_classes
from smdsb_jax.datasets.labels import with_labels
from smdsb_jax.defaults import find_entry, make
from smdsb_jax.network import Network, init_network
from smdsb_jax.optimizer import build_optimizer, learning_rate_schedule
from smdsb_jax.parts import Parts
from smdsb_jax.pretext import PRETEXT
from smdsb_jax.pseudo_labels import PseudoLabelRule
from smdsb_jax.registry import options
from smdsb_jax.scores import check_select_by
from smdsb_jax.selection import Selection
from smdsb_jax.state import TrainState, Tree, Variables
from smdsb_jax.statistics import find_statistic


def build_network(config: Config, classes: int) -> Network:
    """The encoder of `config.encoder` with the head of `config.task`."""
    encoder, task = make(config, "encoder"), make(config, "task")
    return Network(encoder, task.head(encoder, classes, config.classification.dropout), task)


def build_labels(config: Config) -> PseudoLabelRule:
    """The pseudo-label rule of `config.pseudo_labels`, compiled."""
    rule: PseudoLabelRule = make(config, "pseudo_labels")
    return rule._replace(
        assign=jit_at_precision(config, rule.assign), refine=jit_at_precision(config, rule.refine)
    )


def build_parts(config: Config, stage: int, classes: int) -> Parts:
    """All that the step of one stage is bound to, from a resolved configuration."""
    pretext = make(config, "pretext") if stage == 1 or config.stage2.pretext else PRETEXT["none"]()
    selects = config.selection.statistic != "none" and bool(pretext.names)
    steps = config[f"stage{stage}"].steps
    optimizer = config.optimizer
    return Parts(
        network=build_network(config, classes),
        pretext=pretext,
        selection=build_selection(config) if selects else None,
        combine=make(config, "combine"),
        combine_split=config.combine.split,
        optimizer=build_optimizer(
            optimizer.name, optimizer.learning_rate, optimizer.weight_decay, _schedule(config, stage), steps
        ),
        augment=Augment(config.data.points, config.data.subsample, **config.augment),
        class_weight=config.classification.weight,
        label_weights=config.classification.label_weights,
        pretext_weight=config.pretext.weight,
        pretext_on_source=config.pretext.on_source,
        mixup_alpha=config.classification.mixup_alpha if config.classification.mixup == "pcm" else 0.0,
        saliency_mode=config.saliency.mode,
        saliency_alpha=config.saliency.alpha,
        steps=steps,
        accumulate=config.accumulate,
    )


def build_schedule(config: Config, stage: int) -> optax.Schedule:
    """The learning rate of a stage by the updates that were made before, as its optimizer has it."""
    steps = config[f"stage{stage}"].steps
    return learning_rate_schedule(_schedule(config, stage), config.optimizer.learning_rate, steps)


def _schedule(config: Config, stage: int) -> str:
    return (config.stage2.schedule if stage == 2 else "") or config.optimizer.schedule


def build_selection(config: Config) -> Selection:
    """The selection of `config.selection`, its statistic found by name."""
    selection, statistic = config.selection, find_statistic(config.selection.statistic)
    return Selection(
        score=statistic.score,
        side=selection.side,
        keep_ratio=selection.keep_ratio,
        scope=selection.scope,
        denominator=selection.denominator,
        target_shift=tuple(selection.target_shift),
        execution=selection.execution,
        freeze_unlabelled=selection.freeze_unlabelled,
        needs_pretext=statistic.needs_pretext and not selection.bound,
        bound=selection.bound,
    )


def init_state(parts: Parts, key: jax.Array, given: Variables | None = None) -> TrainState:
    """The state a stage starts from: new optimizer, task and rule states; given parameters or new ones.

    The task's state starts from the given parameters too, as an EMA teacher must. The head of another pretext
    task is not taken.

    Raises:
      ValueError: the given parameters are of another encoder or head.
    """
    init_key, pretext_key, step_key = jax.random.split(key, 3)
    points = jax.ShapeDtypeStruct((2, parts.augment.points, 3), jnp.float32)
    variables = init_network(parts.network, init_key, points)
    if given is not None:
        variables = _taken(variables, given, ("encoder", "head"))
    own = {kind: tree["encoder"] for kind, tree in variables.items()}
    features = jax.eval_shape(lambda v, p: parts.network.encoder.apply(v, p, train=False), own, points)
    heads, pretext_state = parts.pretext.init(pretext_key, features, variables)
    variables = {kind: trees | {"pretext": heads.get(kind, {})} for kind, trees in variables.items()}
    if given is not None:
        variables = _taken(variables, given, ("pretext",))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=step_key,
        variables=variables,
        opt_state=parts.optimizer.init(variables["params"]),
        pretext=pretext_state,
        combine=parts.combine.init(variables["params"]["encoder"], parts.tasks),
    )


def _taken(fresh: Variables, given: Variables, parts: tuple[str, ...]) -> Variables:
    """`fresh` with those parts of `given`."""
    merged = {kind: dict(trees) for kind, trees in fresh.items()}
    for part in parts:
        if all(_same_shapes(fresh[kind].get(part, {}), given[kind].get(part, {})) for kind in fresh):
            # copies: the step donates the state, and the given ones are still needed
            taken = {kind: jax.tree.map(jnp.copy, given[kind].get(part, {})) for kind in fresh}
            merged = {kind: trees | {part: taken[kind]} for kind, trees in merged.items()}
        elif part != "pretext":
            raise ValueError(
                f"The given parameters of the {part} do not fit config.encoder or the classes of the data: "
                "start from a run with the same."
            )
    return merged


def _same_shapes(a: Tree, b: Tree) -> bool:
    same_structure = jax.tree.structure(a) == jax.tree.structure(b)
    return same_structure and jax.tree.map(jnp.shape, a) == jax.tree.map(jnp.shape, b)


def abstract_state(parts: Parts, sharding: jax.sharding.Sharding) -> TrainState:
    """The shapes, types and places of a stage's state, for restoring it."""
    shapes = jax.eval_shape(functools.partial(init_state, parts), jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)


def load_domains(config: Config) -> tuple[Domain, Domain]:
    """Source and target of `config.data`; the target's labels are of the source's classes, where it has any.

    The source needs labels and a validation split; the target needs training clouds, and nothing else.

    Raises:
      ValueError: data that cannot be read, or that lack what a run needs, or pseudo-labels that cannot be of
        so many classes.
    """
    source = load_domain(config, "source")
    if not source.classes or (source.train.label == UNLABELLED).any():
        raise ValueError(
            f"Domain {source.name!r}: a source needs a class for every training cloud. Put its clouds into "
            "class folders."
        )
    target = load_target(config, source.classes)
    for domain, splits in ((source, ("train", "val")), (target, ("train",))):
        for split in splits:
            if len(getattr(domain, split).label) == 0:
                rule = " (too few training objects to set some apart)" if split == "val" else ""
                raise ValueError(
                    f"Domain {domain.name!r}: the {split} split is empty{rule}. Add objects to it."
                )
    task = make(config, "task")
    for domain in (source, target):
        if (domain.train.label.ndim > 1) != task.per_point:
            found, wanted = ("point", "cloud") if domain.train.label.ndim > 1 else ("cloud", "point")
            raise ValueError(
                f"Domain {domain.name!r} has a label for each {found}; config.task.name = "
                f"{config.task.name!r} needs one for each {wanted}. Choose the other task, as with task= in "
                "the config file's argument, or other data."
            )
    check_select_by(config.select_by, source, target)
    if 2 in config.stages:
        make(config, "pseudo_labels").check(len(source.classes))
    return source, target


def require_root(config: Config, workdir: object) -> None:
    """Say that a run's data are not found from here, as their folder may be relative, or may have moved.

    Raises:
      ValueError: `config.data.root` is no folder, and there is no cache elsewhere.
    """
    root = config.data.root
    if root and not Path(root).expanduser().is_dir() and not config.data.get("cache"):
        raise ValueError(
            f"{root}, the data of {workdir}, is not found from {Path.cwd()}. Say where it is with --root."
        )


def load_target(config: Config, classes: tuple[str, ...]) -> Domain:
    """The `target` domain of `config.data`, its labels those of the source's or a run's classes.

    Raises:
      ValueError: data that cannot be read, or further classes where `config.data.extra_classes` is `refuse`.
    """
    return with_classes(load_domain(config, "target"), classes, config.data.extra_classes)


def load_domain(config: Config, role: str) -> Domain:
    """The `source` or `target` domain of `config.data`; the source with its `source_labels`, if any."""
    load = find_entry("data", config.data.name)
    own = {name: config.data[name] for name in options(load)}
    domain = load(config.data.root, config.data[role], points=config.data.points, **own)
    other = config.data.source_labels if role == "source" else ""
    return with_labels(domain, other) if other else domain


def jit_at_precision(config: Config, function: Callable[..., Any]) -> Any:
    """`function` compiled with matrix products of `config.matmul_precision`, wherever it is called from."""
    return jax.jit(jax.default_matmul_precision(config.matmul_precision)(function))
