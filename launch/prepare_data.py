"""Read a data set once, check it, say what it holds, and write one cache per domain.

python launch/prepare_data.py --data clouds              # your own, as configs/folder.py trains on
python launch/prepare_data.py --data PointDA_data        # PointDA-10, against its published counts
"""

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs uninstalled

from tqdm import tqdm

from smdsb_jax.datasets import cache as caches
from smdsb_jax.datasets import folder, pointda
from smdsb_jax.datasets.domain import Domain, Progress, assemble
from smdsb_jax.datasets.layouts import LAYOUT, find
from smdsb_jax.datasets.pointda_counts import table, verify
from smdsb_jax.datasets.read import MESH_POINTS
from smdsb_jax.datasets.summary import describe


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when all is right (PointDA-10: as published, or allowed not to be), else 1."""
    parser = argparse.ArgumentParser(description="Check a data set and write its caches.")
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
    published = parser.add_argument_group("PointDA-10")
    published.add_argument(
        "--allow-incomplete", action="store_true", help="write caches of what is there, if not as published"
    )
    flags = parser.parse_args(arguments)
    if flags.mesh_points < 1 or flags.seed < 0:
        parser.error("--mesh_points and --seed are whole numbers, from 1 and from 0.")
    flags.data, flags.cache = (
        str(Path(path).expanduser()) if path else "" for path in (flags.data, flags.cache)
    )
    try:
        domains = own_domains(Path(flags.data))
        return prepare_own(flags, domains) if domains else prepare_pointda(flags)
    except ValueError as error:
        sys.exit(str(error))


def own_domains(root: Path) -> list[str]:
    """The domains of a folder that `configs/folder.py` can train on; none where it is PointDA-10."""
    if not root.is_dir() or any(pointda.listing(str(root), domain) for domain in pointda.DOMAINS):
        return []
    return sorted(path.name for path in root.iterdir() if not path.name.startswith(".") and find(path))


def prepare_own(flags: argparse.Namespace, names: Sequence[str]) -> int:
    """Read and, if asked, write each domain; then say what they hold."""
    domains: dict[str, Domain] = {}
    for name in names:
        try:
            domains[name] = prepare_folder(flags, name)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
    if domains:
        print(describe(domains))
    bad = [name for name in names if name not in domains]
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


def prepare_pointda(flags: argparse.Namespace) -> int:
    """Count all, then read and, if asked, write each domain."""
    counts = [count for domain in pointda.DOMAINS for count in verify(flags.data, domain)]
    present = [domain for domain in pointda.DOMAINS if pointda.listing(flags.data, domain)]
    if not present:
        raise ValueError(
            f"{flags.data} {'holds no data set' if Path(flags.data).is_dir() else 'is missing'}. Expected "
            f"{Path(flags.data, 'DOMAIN', LAYOUT)}, or PointDA-10 as {Path(flags.data, pointda.LAYOUT)}."
        )
    print(table(counts))
    missing, extra = sum(c.missing for c in counts), sum(c.extra for c in counts)
    accepted = flags.allow_incomplete or missing + extra == 0
    todo = present if accepted or flags.verify else []
    bad = [domain for domain in todo if not prepare(flags.data, domain, flags.cache, not flags.verify)]
    hint = "" if todo else " No cache written; --allow-incomplete writes what is there."
    hint += f" Not readable or not written: {', '.join(bad)}." if bad else ""
    print(f"{flags.data}: {missing} objects missing, {extra} extra against the published PointDA-10.{hint}")
    return 0 if accepted and not bad else 1


def prepare(data: str, domain: str, cache: str, write: bool) -> bool:
    """Read a domain of PointDA-10, write its cache if asked, and say how large it is, or what is wrong."""
    bar = bar_of(domain)
    print(f"{domain}: reading {len(pointda.sources(data, domain))} files", flush=True)
    try:
        ragged = pointda.write_cache(data, domain, cache, bar) if write else pointda.read(data, domain, bar)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return False
    sizes = ", ".join(f"{n} x {p} points" for p, n in sorted(Counter(ragged.count.tolist()).items()))
    path = caches.path_of(data, domain, cache)
    print(
        f"{domain}: {sizes}" + (f"; {path}, {path.stat().st_size / 1e6:.1f} MB" if write else ""), flush=True
    )
    return True


def bar_of(domain: str) -> Progress:
    """A progress bar over files, where somebody looks."""
    return functools.partial(tqdm, desc=domain, unit="file", disable=not sys.stderr.isatty())


if __name__ == "__main__":
    sys.exit(main())
