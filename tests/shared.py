"""What is made once: files that all workers of a test run read, and programs that the runs of one share."""

import fcntl
import functools
import os
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp

from smdsb_jax.run import loop

# fields that the functions of a configuration do not depend on
LOOP = "seed stages tracker log_every eval_every keep_checkpoints select_by init_from validators".split()
# what is compiled once for equal parts
SHARED = ("train_step", "init_state", "step_without_network", "step_that_moves_all")
OTHERS = {"build_parts": (*LOOP, "pseudo_labels"), "build_labels": (*LOOP, "stage1", "stage2")}


def made_once(tmp_path_factory, name, make):
    """The folder that `make(folder)` fills, by the first worker process that wants it. Read only."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers
    folder, made = base / name, base / f"{name}.made"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder


def share_programs(patch):
    """In the training loop, equal configurations have the same functions, and these are compiled once.

    A step of `train_and_evaluate` is a partial of `train_step`; jax compiles the same object once.
    """
    for name, fields in OTHERS.items():
        patch.setattr(loop, name, _once_per_configuration(getattr(loop, name), fields))
    partials = {}

    def partial(function, *args, **options):
        if options or getattr(function, "__name__", "") not in SHARED:
            return functools.partial(function, *args, **options)
        made = functools.partial(function, *args)
        return partials.setdefault((function, *map(id, args)), made)

    patch.setattr(loop, "functools", SimpleNamespace(partial=partial))


def step_without_network(parts, state, batch, scores=None, poisoned=-1):
    """Compiles at once. Its losses are finite even where its update is not: they are of what was before."""
    update = jnp.where(state.step + 1 == poisoned, jnp.nan, 1e-3)
    params = jax.tree.map(lambda p: p + update, state.variables["params"])
    metrics = {"loss/class": jnp.ones(()), "loss/pretext": jnp.ones(()), "update/norm": update}
    return state.replace(step=state.step + 1, variables=state.variables | {"params": params}), metrics


def step_that_moves_all(parts, state, batch, scores=None):
    """Compiles at once. Every number of the state moves, by what it was, by the batch and by the key."""
    given = [leaf.astype(float).mean() for leaf in jax.tree.leaves(batch)]
    drawn = sum(given) + jax.random.uniform(jax.random.fold_in(state.key, state.step))

    def move(leaf):
        return leaf + 1 if jnp.issubdtype(leaf.dtype, jnp.integer) else 0.99 * leaf + 1e-3 * drawn

    kinds = ("variables", "opt_state", "pretext", "combine")
    moved = {kind: jax.tree.map(move, getattr(state, kind)) for kind in kinds}
    metrics = {"loss/class": drawn, "loss/pretext": 2 * drawn, "update/norm": drawn}
    if leaves := jax.tree.leaves(moved["combine"]):  # as a rule records its weights
        metrics["combine/weight/class"] = sum(leaf.astype(float).mean() for leaf in leaves)
    return state.replace(step=state.step + 1, **moved), metrics


def _once_per_configuration(build, but):
    built = {}

    def build_once(config, *args):
        sections = config.to_dict()
        other = {1: "stage2", 2: "stage1"}.get(args[0]) if args else None  # of the parts of a stage
        key = repr([(name, sections[name]) for name in sorted(sections) if name not in (*but, other)]), args
        if key not in built:
            built[key] = build(config, *args)
        return built[key]

    return build_once
