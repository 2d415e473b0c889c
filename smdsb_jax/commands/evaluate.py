"""Evaluate a checkpoint, on its target or on any domain of its data set.

smdsb evaluate --workdir runs/s2c --domain blend --split test
"""

from pathlib import Path

from absl import flags

from smdsb_jax.flags import define_run_flags, stop
from smdsb_jax.report.evaluation import SPLITS, evaluate
from smdsb_jax.report.summary import draw_judged, draw_saliency
from smdsb_jax.report.tables import per_class_table

RUN = define_run_flags()
DOMAIN = flags.DEFINE_string("domain", None, "Any domain of the run's data set; its target if not given.")
SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "Part of the domain.")
ROOT = flags.DEFINE_string("root", None, "Folder of the data set, if it has moved.")
OUT = flags.DEFINE_string(
    "out", None, "Folder for confusion.png, saliency.png and, of parts, parts.png; else none."
)


def main(_: list[str]) -> int:
    """Print the scores per class; draw them if asked."""
    if RUN.workdir.value is None:
        return stop("Give --workdir, the folder of a run.")
    found = evaluate(
        RUN.workdir.value,
        DOMAIN.value or "",
        SPLIT.value,
        select_by=RUN.checkpoint.value,
        stage=RUN.stage.value,
        root=ROOT.value,
        allow=RUN.allow.value,
    )
    model = found.model
    if found.left_out:
        print(f"{found.left_out} clouds are of none of the run's classes: left out.")
    print(f"{found.title}:\n{per_class_table(model.classes, *found.judged, model.network.task)}")
    if model.note:
        print(f"{model.note[0].upper()}{model.note[1:]}.")
    if OUT.value:
        out = Path(OUT.value)
        out.mkdir(parents=True, exist_ok=True)
        written = [*draw_judged(out, model, found.clouds, found.judged, found.title), out / "saliency.png"]
        draw_saliency(written[-1], model, found.clouds, found.title)
        print(f"Written: {', '.join(map(str, written))}")
    return 0
