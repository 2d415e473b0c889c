"""`--train`: both frameworks from the same weights on the same clouds; curves and target accuracy over seeds.

Runs by itself: `python -m benchmarks.training SETTING ARGUMENTS` prints its record as JSON. Dropout and the
deformed regions come from each framework's own random numbers, so curves agree in distribution only.
"""

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.contenders import CONTENDERS, Setting
from benchmarks.processes import open_progress, require_one_precision
from benchmarks.ratios import spread
from benchmarks.report import digits
from configs import embedded
from smdsb_jax import augment, resolve
from smdsb_jax.augment import Augment, augment_batch
from smdsb_jax.build import build_parts, init_state, load_domains
from smdsb_jax.config import Config, domain_batch_size
from smdsb_jax.datasets.domain import Domain, Split
from smdsb_jax.markdown import markdown_table
from smdsb_jax.parts import Parts
from smdsb_jax.run.evaluation import jit_eval_step, predict_split
from smdsb_jax.sampling import sample_batch
from smdsb_jax.state import Batch, Variables
from smdsb_jax.train_step import train_step

CONFIG = "c2s,budget=study"  # of configs/embedded.py
EVALUATIONS = 5
STAGE = 1  # without pseudo-labels, which would differ

Step = Callable[[Batch], dict[str, float]]
Predict = Callable[[np.ndarray], np.ndarray]  # clouds as the network sees them → logits


def config_for(name: str, steps: int, seed: int) -> Config:
    """The small setting of the embedded data with a contender's fields, at the embedded data's protocol."""
    config: Any = embedded.get_config(f"{CONFIG},seed={seed}")
    config.update_from_flattened_dict(dict(CONTENDERS[name].fields))
    config[f"stage{STAGE}"].steps = steps
    return resolve(config)


def augmented_batches(config: Config, parts: Parts, domains: tuple[Domain, Domain]) -> Iterator[Batch]:
    """The training loop's mini-batches as the network gets them: sub-sampled, rotated, jittered; in numpy."""
    augmented = jax.jit(functools.partial(augment_batch, parts.augment))
    key = jax.random.fold_in(jax.random.key(config.seed), STAGE)
    source, target = (domain.train for domain in domains)
    for step in range(parts.steps):
        batch = sample_batch(config.seed, STAGE, step, domain_batch_size(config), source, target, None)
        yield jax.device_get(augmented(jax.random.fold_in(key, step), batch))


def build_jax(config: Config, classes: int, variables: Variables) -> tuple[Step, Predict]:
    """Our step without augmentation, which the clouds already have."""
    parts = build_parts(config, STAGE, classes)
    parts = parts._replace(augment=Augment(config.data.points, "first", "none", 0.0, 0.0))
    state = jax.jit(functools.partial(init_state, parts))(
        jax.random.fold_in(jax.random.key(config.seed), STAGE), variables
    )
    step_function = jax.jit(functools.partial(train_step, parts), donate_argnums=0)
    evaluate = jit_eval_step(config, classes)

    def step(batch: Batch) -> dict[str, float]:
        nonlocal state
        state, metrics = jax.block_until_ready(step_function(state, batch))
        return {name: float(value) for name, value in metrics.items()}

    return (
        step,
        lambda points: np.asarray(
            predict_split(evaluate, state.variables, points, config.eval_batch_size).predictions.logits
        ),
    )


def build_torch(
    name: str, config: Config, classes: int, variables: Variables, setting: Setting
) -> tuple[Step, Predict]:
    """The reference's step from the same weights."""
    from benchmarks import with_torch  # not all have it

    setting = setting._replace(stage=STAGE)
    made = with_torch.build(
        config, CONTENDERS[name], classes, jax.device_get(variables), setting, config.seed
    )
    require_one_precision(
        {"jax": setting.precision, name: with_torch.precision_of(with_torch.device_of(setting))}
    )
    size = config.eval_batch_size

    def predict(points: np.ndarray) -> np.ndarray:
        chunks = [points[i : i + size] for i in range(0, len(points), size)]
        return np.concatenate([made.predict(chunk).cpu().numpy() for chunk in chunks])

    return lambda batch: {key: float(value) for key, value in made.step(batch).items()}, predict


def train(name: str, setting: Setting, steps: int, seed: int, tick: Callable[[str], None]) -> dict[str, Any]:
    """One contender, one seed: metrics and seconds of every step, accuracy on the target's test split."""
    config = config_for(name, steps, seed)
    config.matmul_precision = setting.precision
    domains = load_domains(config)
    classes = len(domains[0].classes)
    parts = build_parts(config, STAGE, classes)
    variables = jax.jit(functools.partial(init_state, parts))(jax.random.key(seed)).variables
    if CONTENDERS[name].framework == "jax":
        step, predict = build_jax(config, classes, variables)
    else:
        step, predict = build_torch(name, config, classes, variables, setting)
    test = seen_test(config, domains[1].test)
    metrics, seconds, evaluated, accuracy = [], [], [], []
    for index, batch in enumerate(augmented_batches(config, parts, domains), start=1):
        begun = time.perf_counter()
        metrics.append(step(batch))
        seconds.append(time.perf_counter() - begun)
        if index % max(1, steps // EVALUATIONS) == 0 or index == steps:
            evaluated.append(index)
            accuracy.append(float(np.mean(predict(test.points).argmax(axis=-1) == test.label)))
    tick(f"{name}, seed {seed}: target test {100 * accuracy[-1]:.1f} %")
    return {
        "contender": name, "seed": seed, "metrics": metrics, "seconds": seconds,
        "evaluated": evaluated, "target_accuracy": accuracy,
    }  # fmt: skip


def seen_test(config: Config, split: Split) -> Split:
    """The test clouds at the number of points that the networks see, the same for all."""
    keys = jax.random.split(jax.random.key(0), len(split.label))
    subsample = functools.partial(augment.subsample, count=config.data.points, method=config.data.subsample)
    return Split(np.asarray(jax.jit(jax.vmap(subsample))(keys, split.points).points), split.label)


def training_table(runs: list[dict[str, Any]]) -> str:
    """Last step by contender: losses, target accuracy and time, mean ± standard deviation over seeds."""
    rows = []
    for name in dict.fromkeys(run["contender"] for run in runs):
        of = [run for run in runs if run["contender"] == name]
        tail = {
            key: [np.mean([m[key] for m in run["metrics"][-10:]]) for run in of]
            for key in ("loss/class", "loss/pretext")
        }
        accuracy = [100 * run["target_accuracy"][-1] for run in of]
        columns = [f"{np.mean(v):.3f} ± {np.std(v):.3f}" for v in tail.values()]
        seconds = spread([s for run in of for s in run["seconds"][1:] or run["seconds"]])["median"]
        rows.append([name, *columns, f"{np.mean(accuracy):.1f} ± {np.std(accuracy):.1f}", digits(seconds)])
    steps, seeds = len(runs[0]["seconds"]), len({run["seed"] for run in runs})
    title = (
        f"configs/embedded.py:{CONFIG}, stage {STAGE}, {steps} steps, {seeds} seeds; losses of the last 10:"
    )
    head = ["contender", "class loss", "pretext loss", "target test, last step, %", "step, median, s"]
    return f"{title}\n\n{markdown_table(head, rows)}"


if __name__ == "__main__":
    setting, given = Setting(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    jax.config.update("jax_default_matmul_precision", setting.precision)
    tick = open_progress(len(given["names"]) * given["seeds"])
    runs = [
        train(name, setting, given["steps"], seed, tick)
        for seed in range(given["seeds"])
        for name in given["names"]
    ]
    print(json.dumps(runs))
