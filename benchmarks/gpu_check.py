"""What a user of a new GPU needs to see: the sections of `launch/gpu_check.py`."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

import smdsb_jax
from benchmarks import run
from benchmarks.agreement import agreement_table, agrees, differences, on_device
from benchmarks.contenders import Setting
from benchmarks.machine import describe
from benchmarks.report import gib, machine_lines
from configs import embedded
from smdsb_jax.files import whole_file
from smdsb_jax.markdown import markdown_table
from smdsb_jax.report.summary import write_summary

FAST = ("tensorfloat32", "bfloat16")  # precisions of products that a GPU has beside float32


class Found(NamedTuple):
    """What a section says, and whether all is as it should be."""

    text: str
    good: bool = True


Section = Callable[[], Found]


def run_sections(sections: Mapping[str, Section], path: Path, say: Callable[[str], Any]) -> bool:
    """Each section in order, said and written to `path` at once; one that fails is told and the others go on.

    Returns whether all was as it should be.
    """
    texts, good = [], True
    for title, make in sections.items():
        try:
            found = make()
        except (ValueError, RuntimeError) as error:  # jax's own, as of memory, are RuntimeErrors
            found = Found(f"**Failed**: {type(error).__name__}: {error}", False)
        texts.append(f"## {title}\n\n{found.text}")
        say(texts[-1] + "\n")
        good = good and found.good
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return good


def sections_of(
    device: Any, setting: Setting, batches: Sequence[int], rounds: int, steps: int, out: Path
) -> dict[str, Section]:
    """Agreement with the CPU, what faster products change, throughput, time in kernels, and a training."""
    asked = lambda of, folder: run.Asked(of, [], "", rounds, out / folder)  # noqa: E731
    made: dict[str, Section] = {
        "Agreement of a step with the CPU": lambda: _agreement(device, setting),
        "What faster products change": lambda: _faster(device, setting),
    }
    for precision in ("float32", *FAST):
        of = setting._replace(precision=precision)
        made[f"Throughput and memory, products in {precision}"] = lambda of=of, p=precision: Found(
            run.run_comparison(asked(of, p), batches)
        )
    made["Time in kernels beside their bound"] = lambda: Found(run.run_ledger(asked(setting, "ledger")))
    made["A training run"] = lambda: _training(device, steps, out)
    return made


def _agreement(device: Any, setting: Setting) -> Found:
    cpu = jax.local_devices(backend="cpu")[0]
    found = differences(on_device(cpu, setting), on_device(device, setting))
    head = machine_lines(describe(), setting, device.device_kind)
    return Found(
        f"{head}\n\n{agreement_table(found)}", all(agrees(name, value) for name, value in found.items())
    )


def _faster(device: Any, setting: Setting) -> Found:
    exact = on_device(device, setting)
    of = {p: differences(exact, on_device(device, setting._replace(precision=p))) for p in FAST}
    rows = [[name, *(f"{of[p][name]:.1e}" for p in FAST)] for name in exact]
    return Found(markdown_table(["difference to float32, relative", *FAST], rows))


def _training(device: Any, steps: int, out: Path) -> Found:
    config: Any = embedded.get_config("c2s,encoder=dgcnn")
    config.stage1.steps = config.stage2.steps = steps
    config.stage2.pretext = True
    begun = time.perf_counter()
    result = smdsb_jax.train_and_evaluate(config, out / "c2s")
    seconds = time.perf_counter() - begun
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    what = f"configs/embedded.py:c2s,encoder=dgcnn, {steps} steps a stage"
    return Found(f"{what}: {seconds:.0f} s, peak {gib(peak)} GiB.\n{write_summary(result.workdir)}")
