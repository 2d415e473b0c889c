"""The two-stage loop: `train_and_evaluate(config, workdir)`. Stages, devices, signals, checkpoints."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from smdsb_jax import pages
from smdsb_jax.build import (
    abstract_state,
    build_labels,
    build_parts,
    build_schedule,
    init_state,
    load_domains,
)
from smdsb_jax.config import Config, domain_batch_size, flatten, resolve
from smdsb_jax.datasets.domain import Domain
from smdsb_jax.datasets.fingerprint import fingerprint
from smdsb_jax.datasets.summary import describe
from smdsb_jax.files import only_writer
from smdsb_jax.geometry.per_sample import DATA_AXIS
from smdsb_jax.parts import Parts
from smdsb_jax.pseudo_labels import Evidence, PseudoLabelRule, PseudoLabels
from smdsb_jax.run import checkpoint, hosts, labelling, validation
from smdsb_jax.run.bounds import build_scorer
from smdsb_jax.run.check import check_parts
from smdsb_jax.run.checkpoint import Checkpointer
from smdsb_jax.run.evaluation import (
    EvalStep,
    eval_batch_size,
    jit_eval_step,
    labels_and_outputs,
    predict_split,
)
from smdsb_jax.run.first_nan import nan_step
from smdsb_jax.run.memory import describe_need, free_bytes, needed_bytes, refuse_too_much, room_to_keep
from smdsb_jax.run.records import SILENT, Reporter, open_reporter
from smdsb_jax.run.signals import Stop, stop_on_signal
from smdsb_jax.run.workdir import last_checkpoint, load_variables, refuse_other_trajectory, write_config
from smdsb_jax.run.workload import changed_lines, workload
from smdsb_jax.sampling import sample_batch
from smdsb_jax.scores import ROLES, sentence, splits_of
from smdsb_jax.selection import ORACLES, POOL_STEPS
from smdsb_jax.state import Batch, Pair, TrainState, Variables
from smdsb_jax.trackers import require_tracker
from smdsb_jax.train_step import train_step


class Result(NamedTuple):
    """How a run ended."""

    workdir: Path
    finished: bool  # False: stopped by a signal, and resumable
    state: TrainState | None  # of the last step; None where nothing was left to do
    exit_status: int = 0  # of a process that a signal stopped: 130 (SIGINT) or 143 (SIGTERM)

    @property
    def scores(self) -> dict[str, float]:
        """The headline checkpoint's, in 0 … 1 by name: {"target_test/accuracy": 0.425, …}; empty: none yet.

        Its stage is the latest, and `config.select_by` chose it.
        """
        with checkpoint.open_checkpoints(self.workdir) as checkpointer:
            if not checkpointer.checkpoints:
                return {}
            select_by = checkpoint.info(checkpointer).config["select_by"]
            metrics = checkpoint.info(checkpointer, checkpoint.select(checkpointer, select_by)).metrics
            return {name: value for name, value in metrics.items() if name.partition("/")[0] in ROLES}

    @property
    def pictures(self) -> list[Path]:
        """Those that `write_summary(workdir)` has drawn."""
        return sorted(self.workdir.glob("*.png"))

    def __repr__(self) -> str:
        """As `Result(runs/s2c, finished: source_val/accuracy 81.5 %, target_test/accuracy 64.4 %)`."""
        try:
            scores = ", ".join(f"{name} {100 * value:.1f} %" for name, value in self.scores.items())
        except ValueError:  # a damaged checkpoint; `scores` says which
            scores = "its checkpoints cannot be read"
        state = "finished" if self.finished else "stopped"
        here = Path.cwd()
        folder = self.workdir.relative_to(here) if self.workdir.is_relative_to(here) else self.workdir
        return f"Result({folder}, {state}{': ' if scores else ''}{scores})"


# the state that a step begins from, its mini-batch, and its scores if they are given → values by name
Watcher: TypeAlias = Callable[[TrainState, Batch, Pair | None], Mapping[str, float]]


class Watch(NamedTuple):
    """What is measured beside the training, of which it changes nothing; given from outside."""

    every: int  # steps
    begin: Callable[[Parts], Watcher]  # once per stage


LOOK_EVERY = 10  # steps; several processes then ask each other whether one is to stop: they wait for the step
SAME = {  # in all processes of a run, and what to do otherwise
    "another configuration": "Start each with the same command.",
    "other clouds": "Give each the same data.",
    "another last checkpoint": "Give a --workdir that all hosts share.",
}


class Run(NamedTuple):
    """What the stages of one run share."""

    config: Config
    source: Domain
    target: Domain
    data: Mapping[str, Any]  # their fingerprint, which checkpoints keep
    sharded: NamedSharding  # batches, over the devices
    replicated: NamedSharding  # everything else
    eval_step: EvalStep
    rule: PseudoLabelRule
    checkpointer: Checkpointer
    reporter: Reporter
    stop: Stop
    watch: Watch | None = None


def train_and_evaluate(
    config: Config, workdir: str | Path, watch: Watch | None = None, from_step: int | None = None
) -> Result:
    """Train the stages of `config` in `workdir`, or go on from its last checkpoint.

    A finished run is left as it is. SIGTERM and SIGINT save and stop.

    Args:
      config: of the run.
      workdir: its folder.
      watch: what is measured every so many steps and recorded as `watch/NAME`.
      from_step: go on from the checkpoint of this step, counted over both stages; later ones, as a damaged
        one, are moved to `set_aside/`.

    Raises:
      ValueError: a wrong configuration or statistic, a tracker that is not installed, data that cannot be
        read, a step that does not fit into memory, or a workdir of another run, of other data, or one that
        another process is writing to.
      FloatingPointError: a loss or an update is not finite; names step and term, with `config.debug_nans` the
        operation that makes the first NaN. Checkpoints before it stay.
    """
    config = resolve(config)
    require_tracker(config.tracker)
    workdir = Path(workdir).expanduser().resolve()
    domains = load_domains(config)
    roles = ("source", "target")
    named = {f"{domain.name} ({role})": domain for domain, role in zip(domains, roles, strict=True)}
    print(describe(named), flush=True)
    for name, domain in named.items():
        if len(domain.train.label) < domain_batch_size(config):
            few = f"{len(domain.train.label)} training clouds, fewer than its {domain_batch_size(config)}"
            print(f"Warning: {name}: {few} of a step: each is seen more than once in it.", flush=True)
    data = fingerprint(*domains)
    classes = domains[0].classes
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as refused:
        moved = {}
        if hosts.is_first():
            stack.enter_context(only_writer(workdir, "Wait for its end, or take another --workdir."))
            moved = checkpoint.set_aside(workdir, from_step) if from_step is not None else {}
            refused.callback(checkpoint.put_back, moved)
        hosts.wait("the folder is ready")
        if not workdir.is_dir():  # made by the first process
            raise ValueError(f"{workdir} is not on every host. {SAME['another last checkpoint']}")
        last, finished = last_checkpoint(workdir), False
        found = (flatten(config), data, last and last.total_step)
        hosts.refuse_differences(SAME, dict(zip(SAME, found, strict=True)))
        if last is None:
            check_parts(config, build_parts(config, config.stages[0], len(classes)))
        else:
            finished = last.stage == config.stages[-1] and last.step == config[f"stage{last.stage}"].steps
            refuse_other_trajectory(last, config, classes, workdir, finished, data)
        refused.pop_all()
        print(*changed_lines(config), workload(config, jax.default_backend()), sep="\n", flush=True)
        for aside in moved.values():
            print(f"Moved to {aside}.", flush=True)
        if last is not None and finished:
            done = f"stage {last.stage} has all its {last.step} steps"
            print(f"{workdir} is finished: {done}. Nothing was changed.", flush=True)
            return Result(workdir, True, None)
        return _train(config, workdir, domains, data, last, watch)


def _train(
    config: Config,
    workdir: Path,
    domains: tuple[Domain, Domain],
    data: Mapping[str, Any],
    last: checkpoint.Info | None,
    watch: Watch | None,
) -> Result:
    """From here on the workdir is changed, but not before `config.init_from` has been read."""
    source, target = domains
    mesh = jax.make_mesh((jax.device_count(),), (DATA_AXIS,), axis_types=(AxisType.Auto,))
    replicated = NamedSharding(mesh, PartitionSpec())
    given = None
    if last is None and config.init_from:
        given = load_variables(config.init_from, tuple(config.stages), source.classes, replicated)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        stack.enter_context(jax.default_matmul_precision(config.matmul_precision))
        checkpointer = stack.enter_context(
            checkpoint.open_checkpoints(workdir, config.keep_checkpoints, config.select_by)
        )
        reporter = SILENT
        if hosts.is_first():
            write_config(config, workdir)
            at = (last.stage, last.total_step) if last else (0, 0)
            reporter = stack.enter_context(open_reporter(workdir, at, config.tracker, flatten(config)))
        run = Run(
            config,
            source,
            target,
            data,
            NamedSharding(mesh, PartitionSpec(DATA_AXIS)),
            replicated,
            jit_eval_step(config, len(source.classes)),
            build_labels(config),
            checkpointer,
            reporter,
            stack.enter_context(stop_on_signal("Stopping after this step, and saving.")),
            watch,
        )
        return _run_stages(run, workdir, last, given)


def _run_stages(run: Run, workdir: Path, last: checkpoint.Info | None, given: Variables | None) -> Result:
    config, say = run.config, run.reporter.say
    stages = list(config.stages)
    if last is not None:
        say(f"Resuming from stage {last.stage}, step {last.step}.")
    state = None
    offset = 0  # steps before this stage
    for stage in stages:
        if last is not None and stage < last.stage:
            offset += config[f"stage{stage}"].steps
            continue
        parts = build_parts(config, stage, len(run.source.classes))
        if last is not None and stage == last.stage:
            state, labels = _restore(run, parts, last)
        else:
            state, labels = start_stage(run, parts, stage, given)
        unrecorded = last.unrecorded if last is not None and stage == last.stage else ()
        state = run_stage(run, parts, stage, offset, state, labels, unrecorded)
        given = state.variables
        done = stage == stages[-1] and int(state.step) == config[f"stage{stage}"].steps
        if hosts.any_process(run.stop.is_set()) and not done:
            say(f"Stopped at stage {stage}, step {int(state.step)}; saved. The same command resumes.")
            return Result(workdir, False, state, run.stop.exit_status)
        offset += int(state.step)
    return Result(workdir, True, state)


def run_stage(
    run: Run,
    parts: Parts,
    stage: int,
    offset: int,
    state: TrainState,
    labels: PseudoLabels | None,
    unrecorded: Sequence[Mapping[str, float]] = (),
) -> TrainState:
    """Train one stage to its end (or to a signal), with records, evaluations and checkpoints.

    The host only waits for the device where it logs; the next batch is gathered meanwhile. `unrecorded` are
    the metrics of steps before the first one that belong into the next record.
    """
    config, steps = run.config, run.config[f"stage{stage}"].steps
    step_of_stage = functools.partial(train_step, parts)
    learning_rate = build_schedule(config, stage)
    compiled = jax.jit(
        step_of_stage, donate_argnums=() if config.debug_nans else 0, out_shardings=run.replicated
    )
    step_function = nan_step(compiled, step_of_stage, stage) if config.debug_nans else compiled
    watched = None if run.watch is None else run.watch.begin(parts)
    scorer, of_pool = build_scorer(config, parts, run.source.train, run.target.train), None
    if config.selection.bound in ORACLES and scorer is not None:
        run.reporter.say(
            f"config.selection.bound = {config.selection.bound} reads the target's labels: a bound."
        )
    kept: pages.Kept | None = None  # memory between steps
    share = hosts.rows_of_process(run.sharded, domain_batch_size(config))
    sample = functools.partial(
        sample_batch, config.seed, stage, batch=domain_batch_size(config),
        source=run.source.train, target=run.target.train, draws_chosen=run.rule.draws_chosen, share=share,
    )  # fmt: skip
    refinements = {} if labels is None else labelling.refinement_steps(run.rule, steps)
    host_labels = jax.tree.map(np.asarray, labels)
    saving: checkpoint.Saving | None = None
    first, started = int(state.step), time.perf_counter()
    pending: list[dict[str, Any]] = [{k: np.float32(v) for k, v in of.items()} for of in unrecorded]
    for step in range(first + 1, steps + 1):
        if labels is not None and step - 1 in refinements:
            evidence = _evidence(run, state.variables)
            labels = labelling.refine(run.rule, label_key(run), labels, evidence, refinements[step - 1])
            run.reporter.say(labelling.describe(labels, run.target.train.label))
            host_labels = jax.tree.map(np.asarray, labels)
        batch = hosts.place(sample(step=step - 1, pseudo_labels=host_labels), run.sharded)
        scores: Pair | None = None
        if scorer is not None:
            of_pool = scorer.renew(of_pool, state)
            found = scorer.scores(of_pool, state, batch)
            scores = hosts.place(jax.tree.map(lambda of: of[share], found), run.sharded)
        if step == first + 1:  # this compiles; the call of the step finds the program
            parted = config.accumulate if parts.pretext.joint is None else None
            need = needed_bytes(compiled.lower(state, batch, scores).compile())
            pages.give_back()
            free = free_bytes()
            refuse_too_much(need, free, domain_batch_size(config), jax.device_count(), parted)
            kept = pages.keep_pages(room_to_keep(need, free))
            run.reporter.say(f"stage {stage}: {describe_need(need, free, kept is not None)}")
        if watched is not None and run.watch is not None and step % run.watch.every == 0:
            seen = watched(state, batch, scores)  # of the gradients that this step follows
            run.reporter.scalars(stage, offset + step, {f"watch/{name}": v for name, v in seen.items()})
        state, metrics = step_function(state, batch, scores)
        kept = pages.give_back_beyond(kept)
        pending.append(metrics)
        evaluates = step % config.eval_every == 0 or step == steps
        speaks = step % config.log_every == 0 or evaluates or step == first + 1
        looks = jax.process_count() == 1 or speaks or step % LOOK_EVERY == 0
        if looks and hosts.any_process(run.stop.is_set()):
            run.stop.set()
        stopping = looks and run.stop.is_set() and (scorer is None or step % POOL_STEPS == 0)
        if speaks or stopping:
            means = _finite_means(pending, stage, step)
            if step % config.log_every == 0 or evaluates:
                _refuse_undefined(means, config.selection.statistic, stage, step)
                of_step = {"step_of_stage": step, "learning_rate": float(np.asarray(learning_rate(step - 1)))}
                run.reporter.scalars(stage, offset + step, of_step | means)
                pending = []
            run.reporter.progress(stage, step, steps, _headline(means))
        if step == first + 1:  # what follows needs no compilation
            started = time.perf_counter()
        if evaluates or stopping:
            found = _evaluate(run, parts, state.variables) if evaluates else {}
            if found:
                run.reporter.scalars(stage, offset + step, found)
                line = sentence(found, run.source.name, run.target.name)
                run.reporter.say(f"stage {stage}  step {step}: {line}")
            if saving is not None:
                saving.result()  # long done; what it holds is given back
            saving = checkpoint.save(
                run.checkpointer,
                offset + step,
                stage,
                state,
                labels,
                {name: value for name, value in found.items() if np.isfinite(value)},
                config.to_dict(),
                run.source.classes,
                jax.device_get(pending) if pending else (),
                run.data,
            )
        if stopping:
            break
    if saving is not None:
        saving.result()
    done = int(state.step) - first - 1
    if done > 0:
        rate = done / (time.perf_counter() - started)
        clouds = 2 * domain_batch_size(config)
        run.reporter.say(
            f"Stage {stage}: {rate:.2f} steps/s, {rate * clouds:.0f} clouds/s, with evaluations."
        )
    return state


def _finite_means(pending: list[dict[str, Any]], stage: int, step: int) -> dict[str, float]:
    """Means over the last steps. A loss is of the parameters before its step, `update/` of those after it.

    Raises:
      FloatingPointError: a loss or an update is not finite; names the first such step and its terms.
    """
    values = jax.device_get(pending)
    for behind, of_step in zip(range(len(values) - 1, -1, -1), values, strict=True):
        bad = [
            name
            for name, value in of_step.items()
            if name.startswith(("loss/", "pretext/", "update/")) and not np.isfinite(value)
        ]
        if bad:
            terms = ", ".join(f"{name} = {of_step[name]}" for name in bad)
            raise FloatingPointError(
                f"Stage {stage}, step {step - behind}: {terms}. The last checkpoint is from before. Lower "
                "config.optimizer.learning_rate, or look at the data."
            )
    return {name: float(np.mean([of_step[name] for of_step in values])) for name in values[0]}


def _refuse_undefined(means: Mapping[str, float], statistic: str, stage: int, step: int) -> None:
    """A statistic without a value for any sample since the last record selects by their order alone.

    Raises:
      FloatingPointError: it is one; names it.
    """
    shares = [value for name, value in means.items() if name.endswith("/undefined")]
    if shares and min(shares) == 1:
        raise FloatingPointError(
            f"Stage {stage}, step {step}: the statistic {statistic} is NaN for every sample since the last "
            "record. Guard its divisions and logarithms."
        )


def _headline(means: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix("loss/"): value for name, value in means.items() if name.startswith("loss/")}


def _evaluate(run: Run, parts: Parts, variables: Variables) -> dict[str, float]:
    batch, classes = eval_batch_size(run.config), len(run.source.classes)
    scores, source_val = {}, None
    for role, split in splits_of(run.source, run.target).items():
        label, found = labels_and_outputs(run.eval_step, variables, split, batch)
        prediction = np.asarray(found.logits).argmax(axis=-1)
        measured = parts.network.task.scores(label, prediction, classes)
        scores |= {f"{role}/{metric}": value for metric, value in measured.items()}
        source_val = (label, found) if role == "source_val" else source_val
    if source_val is None:  # its clouds have no labels
        return scores
    stored = validation.Stored(run.source.train.points, run.target.train.points)
    predict = functools.partial(predict_split, run.eval_step, variables, batch=batch)
    return scores | validation.scores(run.config, predict, stored, source_val, run.reporter.say)


def start_stage(
    run: Run, parts: Parts, stage: int, given: Variables | None
) -> tuple[TrainState, PseudoLabels | None]:
    """Fresh optimizer and randomness; the network of the stage before or of `init_from`, or a new one."""
    key = jax.random.fold_in(jax.random.key(run.config.seed), stage)
    start = jax.jit(functools.partial(init_state, parts), out_shardings=run.replicated)
    if stage == 1:
        return start(key, given), None
    jax.eval_shape(start, key, given)  # a network that does not fit is refused before it labels
    labels = assign_pseudo_labels(run, given)
    return start(key, None if run.config.stage2.init == "fresh" else given), labels


def assign_pseudo_labels(run: Run, variables: Variables | None) -> PseudoLabels:
    """Labels of the target's training clouds, by the network of stage 1."""
    if variables is None:
        raise ValueError("config.init_from: stage 2 needs a network that labels the target.")
    labels = run.rule.assign(label_key(run), _evidence(run, variables))
    run.reporter.say(labelling.describe(labels, run.target.train.label))
    # a rule that labels again may begin with none: until then the target has no classification loss
    if not run.rule.refinements and not np.any(np.asarray(labels.weight) > 0):
        raise ValueError(
            "config.pseudo_labels.threshold leaves no target cloud with a pseudo-label: lower it."
        )
    return labels


def label_key(run: Run) -> jax.Array:
    """Of the pseudo-labels; 1 and 2 are the stages'."""
    return jax.random.fold_in(jax.random.key(run.config.seed), 3)


def _evidence(run: Run, variables: Variables) -> Evidence:
    source = run.source.train if run.rule.needs_source else None
    batch = eval_batch_size(run.config)
    return labelling.evidence_of(run.eval_step, variables, run.target.train, source, batch)


def _restore(run: Run, parts: Parts, last: checkpoint.Info) -> tuple[TrainState, PseudoLabels | None]:
    labels = run.target.train.label.shape if last.stage == 2 else None
    return checkpoint.restore(
        run.checkpointer, last.total_step, abstract_state(parts, run.replicated), labels
    )
