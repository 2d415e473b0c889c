"""Evaluate a checkpoint, on its target or on any domain of its data set.

smdsb evaluate --workdir runs/c2s --domain blend --split test
"""

from pathlib import Path

from absl import flags

import smdsb_jax
from smdsb_jax.build import load_target, require_root
from smdsb_jax.datasets.domain import labelled
from smdsb_jax.flags import define_run_flags, stop
from smdsb_jax.report.summary import draw_judged, draw_saliency, judge
from smdsb_jax.report.tables import per_class_table

RUN = define_run_flags()
DOMAIN = flags.DEFINE_string("domain", None, "Any domain of the run's data set; its target if not given.")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "val", "test"], "Part of the domain.")
ROOT = flags.DEFINE_string("root", None, "Folder of the data set, if it has moved.")
OUT = flags.DEFINE_string(
    "out", None, "Folder for confusion.png, saliency.png and, of parts, parts.png; else none."
)


def main(_: list[str]) -> int:
    """Print the scores per class; draw them if asked."""
    if RUN.workdir.value is None:
        return stop("Give --workdir, the folder of a run.")
    model = smdsb_jax.load(RUN.workdir.value, RUN.checkpoint.value, RUN.stage.value, allow=RUN.allow.value)
    data = model.config.data
    data.root = data.root if ROOT.value is None else ROOT.value
    data.target = DOMAIN.value or data.target
    data.extra_classes = "unlabelled"  # another domain may have some that the run does not know
    require_root(model.config, RUN.workdir.value)
    whole = getattr(load_target(model.config, model.classes), SPLIT.value)
    split = labelled(whole)
    if len(split.label) == 0:
        return stop(f"The {SPLIT.value} split of {data.target} has no labelled clouds to evaluate on.")
    if len(split.label) < len(whole.label):
        print(f"{len(whole.label) - len(split.label)} clouds are of none of the run's classes: left out.")
    judged = judge(model, split)
    chosen = RUN.checkpoint.value or model.config.select_by
    title = f"{data.target} {SPLIT.value}, {chosen} of stage {model.stage} (step {model.step})"
    print(f"{title}:\n{per_class_table(model.classes, *judged, model.network.task)}")
    if model.note:
        print(f"{model.note[0].upper()}{model.note[1:]}.")
    if OUT.value:
        out = Path(OUT.value)
        out.mkdir(parents=True, exist_ok=True)
        written = [*draw_judged(out, model, split, judged, title), out / "saliency.png"]
        draw_saliency(written[-1], model, split)
        print(f"Written: {', '.join(map(str, written))}")
    return 0
