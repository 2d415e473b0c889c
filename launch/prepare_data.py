"""Check a PointDA-10 folder against the published counts and write one cache per domain.

python launch/prepare_data.py --data PointDA_data [--cache DIR] [--verify] [--allow-incomplete]
"""

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs uninstalled

from tqdm import tqdm

from smdsb_jax.datasets import pointda
from smdsb_jax.datasets.pointda_counts import table, verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when all is as published (or allowed not to be), else 1."""
    parser = argparse.ArgumentParser(description="Check PointDA-10 and write its caches.")
    parser.add_argument("--data", required=True, help="folder PointDA_data of the unpacked archive")
    parser.add_argument("--cache", default="", help="folder for the caches; default: DATA/cache")
    parser.add_argument("--verify", action="store_true", help="count and read every file, write nothing")
    parser.add_argument("--allow-incomplete", action="store_true", help="write caches of what is there")
    flags = parser.parse_args(arguments)
    try:
        counts = [count for domain in pointda.DOMAINS for count in verify(flags.data, domain)]
        present = [domain for domain in pointda.DOMAINS if pointda.listing(flags.data, domain)]
        if not present:
            pointda.sources(flags.data, pointda.DOMAINS[0])  # raises, with the layout
    except ValueError as error:
        sys.exit(str(error))
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
    """Read a domain, write its cache if asked, and say how large it is, or what is wrong with it."""
    bar = functools.partial(tqdm, desc=domain, unit="file", disable=not sys.stderr.isatty())
    print(f"{domain}: reading {len(pointda.sources(data, domain))} files", flush=True)
    try:
        ragged = pointda.write_cache(data, domain, cache, bar) if write else pointda.read(data, domain, bar)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return False
    sizes = ", ".join(f"{n} x {p} points" for p, n in sorted(Counter(ragged.count.tolist()).items()))
    path = pointda.cache_path(data, domain, cache)
    print(
        f"{domain}: {sizes}" + (f"; {path}, {path.stat().st_size / 1e6:.1f} MB" if write else ""), flush=True
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
