"""Clean clouds or meshes → a folder with a clean and a scanned domain, for a trial without real scans.

python launch/simulate_scans.py --data ModelNet40 --classes bed,chair,cabinet=dresser --out clouds
python launch/sweep.py --table configs/tables.py:decide --field data.root=clouds --workdir runs/decide

--data is one domain in any layout of docs/data.md, as ModelNet40's own (CLASS/{train,test}/*.off). Of each
class half of the training objects become clean clouds, the other half scans, so that no object is in both;
the test objects are in both. The scans: smdsb_jax/datasets/scan.py.
"""

import argparse
import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs uninstalled

import numpy as np
from tqdm import tqdm

from smdsb_jax.datasets.domain import normalize
from smdsb_jax.datasets.layouts import LAYOUT, Source, find
from smdsb_jax.datasets.read import read_clouds
from smdsb_jax.datasets.scan import simulate_scan
from smdsb_jax.flags import Parser
from smdsb_jax.registry import printable, suggest

CLEAN, SCANNED = "clean", "scanned"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when all is written."""
    parser = Parser(description="Simulate scans of clean clouds or meshes.")
    parser.add_argument("--data", required=True, help="folder of one domain, with class folders")
    parser.add_argument("--out", required=True, help="folder to make, for --config.data.root of a training")
    parser.add_argument(
        "--classes", default="", help="these alone, as bed,chair; cabinet=dresser renames; default: all"
    )
    parser.add_argument("--points", type=int, default=1024, help="of a clean cloud at most (%(default)s)")
    parser.add_argument("--scan_points", type=int, default=512, help="of a scan at most (%(default)s)")
    parser.add_argument("--mesh_points", type=int, default=4096, help="drawn from a mesh (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (%(default)s)")
    flags = parser.parse_args(arguments)
    if min(flags.points, flags.scan_points, flags.mesh_points) < 4 or flags.seed < 0:
        parser.error("--points, --scan_points and --mesh_points are whole numbers from 4, --seed from 0")
    try:
        return simulate(flags)
    except ValueError as error:
        sys.exit(printable(str(error)))


def simulate(flags: argparse.Namespace) -> int:
    """Write all into a folder beside `--out`, which takes its place at the end."""
    data, out = (Path(path).expanduser() for path in (flags.data, flags.out))
    if out.exists():
        raise ValueError(f"--out {out} is there already: give another folder, or remove it.")
    renamed = chosen_classes(flags.classes)
    roles = roles_of(labelled(data, renamed), np.random.default_rng(flags.seed))
    part = out.with_name(f".{out.name}.{uuid.uuid4().hex}.part")
    try:
        counts: dict[str, int] = dict.fromkeys((CLEAN, SCANNED), 0)
        for number, (source, domains) in enumerate(tqdm(roles, unit="file", disable=not sys.stderr.isatty())):
            assert source.label is not None
            label = renamed.get(source.label, source.label)
            clouds = read_clouds(source.path, mesh_points=flags.mesh_points, seed=flags.seed)
            for k, cloud in enumerate(clouds):
                name = "-".join([*source.path.relative_to(data).with_suffix("").parts, str(k)])
                for domain in domains:
                    rng = np.random.default_rng([flags.seed, number, k, domain == SCANNED])
                    folder = part / domain / source.split / label
                    folder.mkdir(parents=True, exist_ok=True)
                    np.save(folder / f"{name}.npy", seen_by(domain, normalize(cloud), rng, flags))
                    counts[domain] += 1
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(f"{out}: " + ", ".join(f"{count:,} {domain} clouds" for domain, count in counts.items()) + ".")
    print(f"Train with: python launch/train.py --config configs/folder.py:{CLEAN}2{SCANNED},budget=trial "
          f"--config.data.root={out} --workdir runs/{CLEAN}2{SCANNED}")  # fmt: skip
    return 0


def seen_by(
    domain: str, points: np.ndarray, rng: np.random.Generator, flags: argparse.Namespace
) -> np.ndarray:
    """The cloud as the domain has it, as many points as it may, float32."""
    cloud, most = points, flags.points
    if domain == SCANNED:
        cloud, most = simulate_scan(points, rng), flags.scan_points
    return cloud[rng.permutation(len(cloud))[:most]].astype(np.float32)


def chosen_classes(text: str) -> dict[str, str]:
    """Class of the files → of what is written; empty: all as they are.

    Raises:
      ValueError: a word that is no class or new=old.
    """
    found = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        new, equals, old = word.partition("=")
        if not new or (equals and not old) or Path(new).name != new:
            raise ValueError(f"--classes: {word!r} is not a class, or new=old as cabinet=dresser.")
        found[old or new] = new
    return found


def labelled(data: Path, renamed: dict[str, str]) -> list[Source]:
    """The domain's files of the chosen classes.

    Raises:
      ValueError: no clouds, clouds without a class, or no such class.
    """
    listing = find(data)
    if listing is None or not listing.sources:
        raise ValueError(f"--data {data} holds no clouds. Expected {data / LAYOUT}.")
    loose = [source.path for source in listing.sources if source.label is None]
    if loose:
        raise ValueError(f"{loose[0]} has no class folder: scans are simulated of objects with classes.")
    for name in renamed:
        if name not in listing.classes:
            raise ValueError(f"--classes: {data} has no class {name!r}.{suggest(name, listing.classes)}")
    return [source for source in listing.sources if not renamed or source.label in renamed]


def roles_of(sources: Sequence[Source], rng: np.random.Generator) -> list[tuple[Source, tuple[str, ...]]]:
    """Each file with the domains that it is for: both if it is a test object, else one, drawn in each class.

    Raises:
      ValueError: a class with fewer than two training objects.
    """
    roles = []
    for label in dict.fromkeys(source.label for source in sources):
        for split in ("train", "val"):
            own = [source for source in sources if (source.label, source.split) == (label, split)]
            if split == "train" and len(own) < 2:
                raise ValueError(f"Class {label!r} has {len(own)} training objects; two are the least.")
            for place, row in enumerate(rng.permutation(len(own))):
                roles.append((own[row], (CLEAN if place < len(own) / 2 else SCANNED,)))
    return roles + [(source, (CLEAN, SCANNED)) for source in sources if source.split == "test"]


if __name__ == "__main__":
    sys.exit(main())
