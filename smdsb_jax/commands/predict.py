"""Classify clouds in files.

smdsb predict --workdir runs/s2c scan1.npy scan2.ply folder/

A table on the console; predictions.csv with a probability for each class; --pictures DIR draws saliency maps,
and writes a page to look through them in 3-D. Of parts, predictions.csv has the share of each, and the folder
predictions_labelled a PLY file per cloud with a label and a color for each point; --pictures draws these.
Exits with 1 where some of the files could not be read.
"""

import csv
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

import smdsb_jax
from smdsb_jax.datasets.domain import y_to_z_up
from smdsb_jax.datasets.read import READERS, find_all_clouds
from smdsb_jax.files import whole_file
from smdsb_jax.flags import define_run_flags, stop
from smdsb_jax.given import as_text, read_in_turns
from smdsb_jax.inference import Model
from smdsb_jax.markdown import markdown_table
from smdsb_jax.metrics import entropy
from smdsb_jax.report.parts import Segmented, Shares, draw_parts, parts_table, write_parts_csv, write_ply
from smdsb_jax.report.viewer import Classified, draw_predictions, picture_stem, write_viewer

SHOWN = 40  # rows on the console; all are in the file

RUN = define_run_flags()
OUT = flags.DEFINE_string(
    "out", "predictions.csv", "File for the probabilities of all classes; of parts, for their shares."
)
PICTURES = flags.DEFINE_string(
    "pictures", None, "Folder for a page that shows the clouds in 3-D, and a picture of each one's saliency."
)
Y_UP = flags.DEFINE_boolean("y_up", False, "In the files y is up, not z: turn the clouds.")


def main(argv: list[str]) -> int:
    """Read, classify, tell."""
    if RUN.workdir.value is None:
        return stop("Give --workdir, the folder of a run, and the files of clouds or folders that hold some.")
    out = Path(OUT.value).expanduser()
    pictures = Path(PICTURES.value).expanduser() if PICTURES.value else None
    if out.is_dir():
        return stop(f"--out {OUT.value} is a folder. Give a file, for example {out / 'predictions.csv'}.")
    if pictures and pictures.exists() and not pictures.is_dir():
        return stop(f"--pictures {PICTURES.value} is a file. Give a folder.")
    files, skipped = listed(argv[1:], out)
    if not files:
        return stop(f"No clouds to classify: give files ({', '.join(READERS)}) or folders that hold some.")
    model = smdsb_jax.load(RUN.workdir.value, RUN.checkpoint.value, RUN.stage.value, allow=RUN.allow.value)
    tell = tell_parts if model.network.task.per_point else tell_classes
    bad = tell(model, files, skipped, out, pictures)
    if len(bad) == len(files):
        more = f" ({len(bad) - 1} more files cannot be read.)" if len(bad) > 1 else ""
        return stop(printable(bad[0] + more))
    if not bad:
        return 0
    print(
        f"{len(bad)} of {len(files)} files cannot be read:", *map(printable, bad), sep="\n", file=sys.stderr
    )
    return 1


def tell_classes(
    model: Model, files: Sequence[Path], skipped: Counter[str], out: Path, pictures: Path | None
) -> list[str]:
    """The class of each cloud; returns why some files cannot be read."""
    found, bad = classify(model, files, bool(pictures))
    if found is None:
        return bad
    source = source_of(model)
    print(f"{source}:\n{table(found)}")
    if len(found.names) > SHOWN:
        print(f"... and {len(found.names) - SHOWN} more.")
    label = found.probability.argmax(axis=1)
    print(f"{len(label)} clouds: {counted(Counter(model.classes[k] for k in label))}.")
    if skipped:
        print(printable(f"Skipped: {counted(skipped)}."))
    write_csv(out, found)
    print(f"Written: {out}")
    if pictures:
        print(f"Written: {write_viewer(pictures / 'index.html', source, found)}")
        drawn = draw_predictions(pictures, found, lambda numbers: progress(numbers, "picture"))
        print(f"Written: {len(drawn)} pictures in {pictures}")
    return bad


def tell_parts(
    model: Model, files: Sequence[Path], skipped: Counter[str], out: Path, pictures: Path | None
) -> list[str]:
    """The part of each point of the clouds; returns why some files cannot be read."""
    told: list[Shares] = []
    bad: list[str] = []
    labelled = out.with_name(f"{out.stem}_labelled")
    for turn in read_in_turns(progress(files, "file"), model.config.data.points):
        bad += turn.bad
        found = smdsb_jax.predict(model, turn.clouds, y_up=Y_UP.value)
        for name, points, probability in zip(turn.names, turn.clouds, found, strict=True):
            cloud = Segmented(name, model.classes, points, probability)
            # the number keeps files of the same name in different folders apart
            file = f"{len(told):04}_{picture_stem(name)}"
            write_ply(labelled / f"{file}.ply", cloud)
            if pictures:  # with z up; files have the coordinates that were given
                upright = cloud._replace(points=y_to_z_up(points)) if Y_UP.value else cloud
                draw_parts(pictures / f"{file}.png", upright)
            told.append(cloud.shares)
    if not told:
        return bad
    shown = [of._replace(name=printable(of.name)) for of in told[:SHOWN]]
    print(f"{source_of(model)}:\n{parts_table(model.classes, shown)}")
    if len(told) > SHOWN:
        print(f"... and {len(told) - SHOWN} more.")
    if skipped:
        print(printable(f"Skipped: {counted(skipped)}."))
    write_parts_csv(out, model.classes, told)
    print(f"Written: {out}")
    several = "s" * (len(told) > 1)
    print(f"Written: {len(told)} labelled cloud{several} in {labelled}")
    if pictures:
        print(f"Written: {len(told)} picture{several} in {pictures}")
    return bad


def source_of(model: Model) -> str:
    """Run, stage and step that tell."""
    return f"{RUN.workdir.value}, stage {model.stage}, step {model.step}"


def listed(words: Sequence[str], out: Path) -> tuple[list[Path], Counter[str]]:
    """The files that are named or lie in named folders, and how many others these hold by suffix.

    `out` of an earlier call may lie there too.
    """
    files: list[Path] = []
    skipped: Counter[str] = Counter()
    for path in (Path(word).expanduser() for word in words):
        found, others = find_all_clouds(path) if path.is_dir() else ([path], Counter())
        files += [each for each in found if each == path or each.resolve() != out.resolve()]
        skipped += others
    return files, skipped


def classify(model: Model, files: Sequence[Path], pictures: bool) -> tuple[Classified | None, list[str]]:
    """What the network makes of all clouds that can be read, if any, and why other files cannot be.

    Points and saliency are empty unless `pictures` need them.
    """
    parts: list[Classified] = []
    bad: list[str] = []
    for turn in read_in_turns(progress(files, "file"), model.config.data.points):
        bad += turn.bad
        if turn.clouds:
            parts.append(Classified(turn.names, model.classes, *measured(model, turn.clouds, pictures)))
    if not parts:
        return None, bad
    arrays = (np.concatenate(each) for each in zip(*(part[2:] for part in parts), strict=True))
    return Classified([name for part in parts for name in part.names], model.classes, *arrays), bad


def measured(
    model: Model, clouds: list[np.ndarray], pictures: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities; the points that the network got, and their saliency under the predicted class."""
    probability = np.asarray(smdsb_jax.predict(model, clouds, y_up=Y_UP.value))
    if not pictures:
        return probability, np.zeros((len(clouds), 0, 3)), np.zeros((len(clouds), 0))
    sample = smdsb_jax.samples(model, clouds, probability.argmax(axis=1), y_up=Y_UP.value)
    return probability, np.asarray(sample.points), np.asarray(sample.saliency)


def progress(steps: Sequence[Any], unit: str) -> tqdm:
    """A bar, where someone looks on."""
    return tqdm(steps, unit=unit, disable=not sys.stderr.isatty())


def counted(counts: Counter[str]) -> str:
    """`12 chair, 3 sofa`, the most frequent first."""
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def printable(text: str) -> str:
    """Without what would control a terminal: a file may be named so."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", as_text(text))


def table(found: Classified) -> str:
    """Markdown table of the first clouds: each one's class, and how sure it is."""
    rows = []
    for name, p in zip(found.names[:SHOWN], found.probability, strict=False):
        first, second = np.argsort(-p)[:2] if len(p) > 1 else (0, 0)
        behind = f"{found.classes[second]} ({100 * p[second]:.1f} %)"
        rows.append([printable(name), found.classes[first], f"{100 * p[first]:.1f}", behind])
    return markdown_table(["file", "class", "probability, %", "next"], rows)


def write_csv(path: Path, found: Classified) -> None:
    """One row per cloud: class, probability of each class, entropy in nats."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", *(f"probability of {name}" for name in found.classes), "entropy"])
        for name, p, h in zip(found.names, found.probability, entropy(found.probability), strict=True):
            writer.writerow([name, found.classes[p.argmax()], *(f"{x:.6f}" for x in p), f"{h:.6f}"])
