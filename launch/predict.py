"""Classify clouds: python launch/predict.py --workdir runs/c2s scan1.npy scan2.npy folder/.

A table on the console; predictions.csv with a probability for each class; --pictures DIR draws saliency maps.
"""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # smdsb_jax/, if not installed

import numpy as np
from absl import app, flags, logging
from tqdm import tqdm

import smdsb_jax
from smdsb_jax.datasets.read import READERS, find_clouds
from smdsb_jax.files import whole_file
from smdsb_jax.flags import cache_compilation, define_run_flags, parse_flags, stop, user_errors
from smdsb_jax.markdown import markdown_table
from smdsb_jax.metrics import entropy
from smdsb_jax.report.summary import draw_predictions

SHOWN = 40  # rows on the console; all are in the file
AT_ONCE = 256  # files that are read before their clouds are classified

RUN = define_run_flags()
OUT = flags.DEFINE_string("out", "predictions.csv", "File for the probabilities of all classes.")
PICTURES = flags.DEFINE_string("pictures", None, "Folder for a picture of each cloud's saliency map.")


def main(argv: list[str]) -> int:
    """Read, classify, tell."""
    if RUN.workdir.value is None:
        return stop("Give --workdir, the folder of a run, and the files of clouds or folders that hold some.")
    files, skipped = listed(argv[1:])
    if not files:
        return stop(f"No clouds to classify: give files ({', '.join(READERS)}) or folders that hold some.")
    model = smdsb_jax.load(RUN.workdir.value, RUN.checkpoint.value, RUN.stage.value, allow=RUN.allow.value)
    parts = [files[start : start + AT_ONCE] for start in range(0, len(files), AT_ONCE)]
    bar = tqdm(parts, unit=f"{AT_ONCE} files", disable=len(parts) < 2 or not sys.stderr.isatty())
    probability = np.concatenate([smdsb_jax.predict(model, part) for part in bar])
    print(f"{RUN.workdir.value}, stage {model.stage}, step {model.step}:")
    print(table(files[:SHOWN], probability, model.classes))
    if len(files) > SHOWN:
        print(f"... and {len(files) - SHOWN} more.")
    print(f"{len(files)} clouds: {counted(Counter(model.classes[k] for k in probability.argmax(axis=1)))}.")
    if skipped:
        print(f"Skipped: {counted(skipped)}.")
    write_csv(Path(OUT.value).expanduser(), files, probability, model.classes)
    print(f"Written: {OUT.value}")
    if PICTURES.value:
        drawn = draw_predictions(Path(PICTURES.value).expanduser(), model, files, probability)
        print(f"Written: {len(drawn)} pictures in {PICTURES.value}")
    return 0


def listed(words: Sequence[str]) -> tuple[list[Path], Counter[str]]:
    """The files that are named or lie in named folders, and how many others these hold by suffix."""
    files: list[Path] = []
    skipped: Counter[str] = Counter()
    for path in (Path(word).expanduser() for word in words):
        found, others = find_clouds(path) if path.is_dir() else ([path], Counter())
        files += found
        skipped += others
    return files, skipped


def counted(counts: Counter[str]) -> str:
    """`12 chair, 3 sofa`, the most frequent first."""
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def table(files: Sequence[Path], probability: np.ndarray, classes: Sequence[str]) -> str:
    """Markdown table: each file's class, and how sure it is."""
    rows = []
    for path, p in zip(files, probability, strict=False):
        first, second = np.argsort(-p)[:2] if len(p) > 1 else (0, 0)
        behind = f"{classes[second]} ({100 * p[second]:.1f} %)"
        rows.append([str(path), classes[first], f"{100 * p[first]:.1f}", behind])
    return markdown_table(["file", "class", "probability, %", "next"], rows)


def write_csv(path: Path, files: Sequence[Path], probability: np.ndarray, classes: Sequence[str]) -> None:
    """One row per file: class, probability of each class, entropy in nats."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", *(f"probability of {name}" for name in classes), "entropy"])
        for name, p, h in zip(files, probability, entropy(probability), strict=True):
            writer.writerow([name, classes[p.argmax()], *(f"{x:.6f}" for x in p), f"{h:.6f}"])


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    cache_compilation()
    app.run(user_errors(main, takes_words=True), flags_parser=parse_flags)
