"""Read a data set once, check it, say what it holds, and write one cache per domain.

smdsb prepare --data clouds              # your own, as configs/folder.py trains on
smdsb prepare --data PointDA_data        # PointDA-10, against its published counts
smdsb prepare --data PointSegDAdataset   # PointSegDA likewise; its files need no cache
"""

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from smdsb_jax.datasets import cache as caches
from smdsb_jax.datasets import folder, pointda, pointda_counts, pointsegda, pointsegda_counts
from smdsb_jax.datasets.counts import difference, is_complete, table
from smdsb_jax.datasets.domain import Domain, Progress, assemble
from smdsb_jax.datasets.layouts import LAYOUT, find
from smdsb_jax.datasets.read import MESH_POINTS
from smdsb_jax.datasets.summary import describe
from smdsb_jax.flags import Parser
from smdsb_jax.registry import printable


def main(argv: Sequence[str]) -> int:
    """0 when all is right (published data: as published, or allowed not to be), else 1."""
    parser = Parser(argv[0], description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", required=True, help="folder of the domains: --config.data.root of a training"
    )
    parser.add_argument("--cache", default="", help="folder for the caches; default: DATA/cache")
    parser.add_argument("--verify", action="store_true", help="count and read every file, write nothing")
    own = parser.add_argument_group("your own clouds")
    own.add_argument(
        "--mesh_points", type=int, default=MESH_POINTS, help="drawn from each mesh (%(default)s)"
    )
    own.add_argument("--seed", type=int, default=0, help="of that draw (%(default)s)")
    published = parser.add_argument_group("published data sets")
    published.add_argument(
        "--allow-incomplete", action="store_true", help="take what is there, if it is not as published"
    )
    flags = parser.parse_args(argv[1:])
    if flags.mesh_points < 1 or flags.seed < 0:
        parser.error("--mesh_points and --seed are whole numbers, from 1 and from 0")
    flags.data, flags.cache = (
        str(Path(path).expanduser()) if path else "" for path in (flags.data, flags.cache)
    )
    return prepare(flags)


def prepare(flags: argparse.Namespace) -> int:
    """By what the folder looks like: a published data set, or clouds of your own."""
    root = Path(flags.data)
    if found := [domain for domain in pointda.DOMAINS if pointda.listing(flags.data, domain)]:
        return prepare_pointda(flags, found)
    if found := [domain for domain in pointsegda.DOMAINS if pointsegda.listing(flags.data, domain)]:
        return check_pointsegda(flags, found)
    if found := own_domains(root):
        return prepare_own(flags, found)
    raise ValueError(
        f"{root} {'holds no data set' if root.is_dir() else 'is missing'}. Expected "
        f"{root / 'DOMAIN' / LAYOUT}, PointDA-10 as {root / pointda.LAYOUT}, or PointSegDA as "
        f"{root / pointsegda.LAYOUT}."
    )


def own_domains(root: Path) -> list[str]:
    """The domains of a folder that `configs/folder.py` can train on."""
    visible = (path for path in root.iterdir() if not path.name.startswith(".")) if root.is_dir() else ()
    return sorted(path.name for path in visible if find(path))


def prepare_own(flags: argparse.Namespace, names: Sequence[str]) -> int:
    """Read and, if asked, write each domain; then say what they hold."""
    bad = read_each(names, lambda name: prepare_folder(flags, name))
    if bad:
        print(f"{flags.data}: not readable or not written: {', '.join(bad)}.")
    return 1 if bad else 0


def prepare_folder(flags: argparse.Namespace, name: str) -> Domain:
    """One domain of clouds of your own, written to its cache unless `--verify` is given."""
    print(f"{name}: reading {Path(flags.data, name)}", flush=True)
    points, seed = flags.mesh_points, flags.seed
    if flags.verify:
        found = folder.read(flags.data, name, points, bar_of(name), seed=seed)
    else:
        found = folder.write_cache(flags.data, name, flags.cache, bar_of(name), mesh_points=points, seed=seed)
        path = caches.path_of(flags.data, name, flags.cache)
        print(f"{name}: {path}, {path.stat().st_size / 1e6:.1f} MB", flush=True)
    return assemble(name, found.classes, found.ragged, 1, found.skipped)


def check_pointsegda(flags: argparse.Namespace, present: Sequence[str]) -> int:
    """Count all, read each domain, and say what they hold. The files are few: there are no caches."""
    counts = [
        count for domain in pointsegda.DOMAINS for count in pointsegda_counts.verify(flags.data, domain)
    ]
    print(table(counts))
    bad = read_each(present, lambda domain: read_pointsegda(flags.data, domain))
    hint = f" Not readable: {', '.join(bad)}." if bad else ""
    hint += " Nothing is written: a training reads the files."
    print(f"{flags.data}: {difference(counts)} against the published PointSegDA.{hint}")
    return 0 if (flags.allow_incomplete or is_complete(counts)) and not bad else 1


def read_pointsegda(data: str, domain: str) -> Domain:
    """One domain of PointSegDA; shapes of an unusual size are named."""
    files = pointsegda.listing(data, domain)
    print(f"{domain}: reading {len(files)} files", flush=True)
    ragged = pointsegda.read(data, domain, bar_of(domain))
    unusual = np.flatnonzero(ragged.count != pointsegda_counts.POINTS)
    if len(unusual):
        first = f"first: {files[unusual[0]]}, {ragged.count[unusual[0]]:,}"
        other = f"have other than {pointsegda_counts.POINTS:,} points ({first})"
        print(f"{domain}: {len(unusual)} of {len(files)} shapes {other}.", flush=True)
    return assemble(domain, pointsegda.PARTS, ragged, 1)


def read_each(names: Sequence[str], read: Callable[[str], Domain]) -> list[str]:
    """Read each domain and say what they hold; those that could not be read or written, by name."""
    domains: dict[str, Domain] = {}
    for name in names:
        try:
            domains[name] = read(name)
        except (ValueError, OSError) as error:
            print(printable(str(error)), file=sys.stderr)
    if domains:
        print(describe(domains))
    return [name for name in names if name not in domains]


def prepare_pointda(flags: argparse.Namespace, present: Sequence[str]) -> int:
    """Count all, then read and, if asked, write each domain."""
    counts = [count for domain in pointda.DOMAINS for count in pointda_counts.verify(flags.data, domain)]
    print(table(counts))
    accepted = flags.allow_incomplete or is_complete(counts)
    todo = present if accepted or flags.verify else []
    bad = [domain for domain in todo if not read_pointda(flags, domain)]
    hint = "" if todo else " No cache written; --allow-incomplete writes what is there."
    hint += f" Not readable or not written: {', '.join(bad)}." if bad else ""
    print(f"{flags.data}: {difference(counts)} against the published PointDA-10.{hint}")
    return 0 if accepted and not bad else 1


def read_pointda(flags: argparse.Namespace, domain: str) -> bool:
    """Read a domain of PointDA-10, write its cache if asked, and say how large it is, or what is wrong."""
    data, write, bar = flags.data, not flags.verify, bar_of(domain)
    print(f"{domain}: reading {len(pointda.sources(data, domain))} files", flush=True)
    try:
        ragged = (
            pointda.write_cache(data, domain, flags.cache, bar) if write else pointda.read(data, domain, bar)
        )
    except (ValueError, OSError) as error:
        print(printable(str(error)), file=sys.stderr)
        return False
    sizes = ", ".join(f"{n} x {p} points" for p, n in sorted(Counter(ragged.count.tolist()).items()))
    path = caches.path_of(data, domain, flags.cache)
    print(
        f"{domain}: {sizes}" + (f"; {path}, {path.stat().st_size / 1e6:.1f} MB" if write else ""), flush=True
    )
    return True


def bar_of(domain: str) -> Progress:
    """A progress bar over files, where somebody looks."""
    return functools.partial(tqdm, desc=domain, unit="file", disable=not sys.stderr.isatty())
