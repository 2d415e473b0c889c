"""What is made once: files that all worker processes of a test run read, and programs that all runs share."""

import fcntl
import functools
import os
import shutil
from types import SimpleNamespace

from smdsb_jax.run import loop

# of the loop alone: they change nothing that is compiled
LOOP = ("seed", "stages", "log_every", "eval_every", "keep_checkpoints", "select_by", "init_from")


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
    for name in ("build_parts", "build_labels", "jit_eval_step"):
        patch.setattr(loop, name, _once_per_configuration(getattr(loop, name)))
    partials = {}

    def partial(function, *args, **options):
        if options or getattr(function, "__name__", "") not in ("train_step", "init_state"):
            return functools.partial(function, *args, **options)
        made = functools.partial(function, *args)
        return partials.setdefault((function, *map(id, args)), made)

    patch.setattr(loop, "functools", SimpleNamespace(partial=partial))


def _once_per_configuration(build):
    built = {}

    def build_once(config, *args):
        flat = config.to_dict()
        key = repr([(name, flat[name]) for name in sorted(flat) if name not in LOOP]), args
        if key not in built:
            built[key] = build(config, *args)
        return built[key]

    return build_once
