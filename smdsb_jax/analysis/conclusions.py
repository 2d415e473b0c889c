"""What a leaderboard says to its reader: tables with his own statistics first, then a few sentences.

A statistic beats random where its interval excludes 0, which is what random scores give. The intervals are
those that hold for the best of all statistics (`spearman_best_…` of the leaderboard), so that nothing is
found by comparing many.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from smdsb_jax.analysis import ranks
from smdsb_jax.analysis.examined import SOURCE, TARGET
from smdsb_jax.analysis.leaderboard import LEAST_DRAWN
from smdsb_jax.analysis.oracle import REFERENCES
from smdsb_jax.markdown import markdown_table

MEASURES = ("gain", "dot_o")  # of single samples, and with what they do to others
BESIDE = ("skewness", "random")  # what one's own statistic is held against
LEADERS = 3  # statistics of a table over many checkpoints that lead it
Block = list[Mapping]  # rows of a leaderboard: all statistics against one measure in one domain


class Table(NamedTuple):
    """A title, and lines of text by column."""

    title: str
    lines: list[dict[str, str]]


class Conclusions(NamedTuple):
    """What to read first."""

    tables: list[Table]
    sentences: list[str]

    def text(self) -> list[str]:
        """Lines for a console, the tables as Markdown."""
        lines = []
        for table in self.tables:
            body = [list(line.values()) for line in table.lines]
            lines += [f"\n{table.title}:", markdown_table(list(table.lines[0]), body)]
        return lines + self.sentences


def conclude(
    rows: Sequence[Mapping], own: Sequence[str] = (), keep_ratio: float = 0.7, samples: int = 0
) -> Conclusions:
    """Tables and sentences on source and target, for the measures gain and dot_o.

    Of one or two checkpoints (groups, stages or steps) each has its table, with one's own statistics,
    skewness, random and the leader; of more there is one table, of means and counts.

    Args:
      rows: of `leaderboard`.
      own: the statistics that the reader asks about, in this order.
      keep_ratio: with which `kept_low` and `kept_high` were made.
      samples: how many of a domain have intervals of all measures, to tell who took fewer; 0: not known.
    """
    kept = [r for r in rows if r["domain"] in (SOURCE, TARGET) and r["measure"] in MEASURES]
    blocks: dict[tuple, dict[tuple[str, str], Block]] = {}
    for row in kept:
        of = blocks.setdefault((row["group"], row["stage"], row["step"]), {})
        of.setdefault((row["domain"], row["measure"]), []).append(row)
    if len(blocks) > 2:
        return _over_all(list(blocks.values()), own)
    tables, sentences = [], []
    for (group, stage, step), of in blocks.items():
        where = f"{group}, stage {stage}, step {step}"
        first = next(iter(of.values()))[0]
        title = f"{where}, {_count(first['samples'], 'sample')} a domain, {_count(first['seeds'], 'seed')}"
        tables.append(Table(title, [line for at, block in of.items() for line in _lines(at, block, own)]))
        prefix = f"{where}: " if len(blocks) > 1 else ""
        found = [*_on_own(of, own, keep_ratio), *_on_measures(of, samples)]
        sentences += [prefix + sentence for sentence in found]
    return Conclusions(tables, sentences)


def beats_random(row: Mapping) -> str:
    """The side to keep, `low` or `high`, of a statistic whose interval as the best excludes 0, or none."""
    low, high = row["spearman_best_low95"], row["spearman_best_high95"]
    return ("low" if high < 0 else "high") if low * high > 0 else ""


def _lines(at: tuple[str, str], block: Block, own: Sequence[str]) -> list[dict[str, str]]:
    """One's own statistics, those beside them, and the leader."""
    of = {str(r["statistic"]): r for r in block}
    ranked = sorted(_candidates(block), key=lambda r: r["rank"])
    leader = [str(r["statistic"]) for r in ranked if r["statistic"] != "random"][:1]
    chosen = [name for name in dict.fromkeys((*own, *BESIDE, *leader)) if name in of]
    return [
        {
            "domain": at[0] if i == 0 else "",
            "measure": at[1] if i == 0 else "",
            "statistic": name,
            "rank": f"{of[name]['rank']} of {len(ranked)}" if of[name]["rank"] else "-",
            "Spearman": _signed(of[name]["spearman"]),
            "95 % interval": _interval(of[name], "spearman"),
            "adjusted": _interval(of[name], "spearman_best"),
            "beats random": _verdict(of[name]),
        }
        for i, name in enumerate(chosen)
    ]


def _verdict(row: Mapping) -> str:
    if row["statistic"] == "random":
        return "-"
    if not np.isfinite(row["spearman"]):
        return "constant"
    if not np.isfinite(row["spearman_best_low95"]):
        return "no interval"
    side = beats_random(row)
    return f"yes, keep {side}: {_signed(row[f'kept_{side}'])} sd" if side else "no"


def _on_own(of: Mapping[tuple[str, str], Block], own: Sequence[str], keep_ratio: float) -> list[str]:
    """A sentence on each of one's own statistics."""
    sentences, share = [], 100 * keep_ratio
    for name in own:
        found = {at: row for at, block in of.items() for row in block if row["statistic"] == name}
        known = {at: row for at, row in found.items() if np.isfinite(row["spearman_best_low95"])}
        better = [
            f"in {', '.join(at)} (keep {side}: {share:.0f} % are worth {_signed(row[f'kept_{side}'])} sd)"
            for at, row in known.items()
            if (side := beats_random(row))
        ]
        if better:
            rest = ", elsewhere it does not" if len(better) < len(known) else ""
            sentences.append(f"{name} beats random {_listed(better)}{rest}.")
        elif known:
            sentences.append(f"{name} does not beat random: each of its adjusted intervals holds 0.")
        elif found:
            sentences.append(f"{name} cannot be told from random: it has no interval.")
    return sentences


def _on_measures(of: Mapping[tuple[str, str], Block], samples: int) -> list[str]:
    """A sentence on each measure: what beats random, or that nothing does."""
    sentences = []
    for measure in MEASURES:
        known, better = {}, {}
        for (domain, name), block in of.items():
            intervals = [r for r in _candidates(block) if np.isfinite(r["spearman_best_low95"])]
            if name == measure and intervals:
                known[domain] = len(intervals)
                sides = {str(r["statistic"]): beats_random(r) for r in intervals}
                better[domain] = [f"{k} (keep {s})" for k, s in sides.items() if s and k != "random"]
        if not known:
            if any(name == measure for _, name in of):
                sentences.append(f"{measure}: no interval, for it takes {_remedy(samples)}.")
            continue
        adjusted = f"adjusted for the choice among {_listed(dict.fromkeys(map(str, known.values())), 'or')}"
        if not any(better.values()):
            none = f"no statistic has an interval, {adjusted}, that excludes 0"
            sentences.append(f"{measure}: nothing beats random in {_listed(known, 'or')}: {none}.")
            continue
        each = [
            f"in {domain} {_listed(names)} beat{'s' * (len(names) == 1)} random" if names
            else f"in {domain} nothing does"
            for domain, names in sorted(better.items(), key=lambda item: not item[1])
        ]  # fmt: skip
        sentences.append(f"{measure}: {', '.join(each)}, by intervals {adjusted}.")
    return sentences


def _remedy(samples: int) -> str:
    return f"{LEAST_DRAWN} mini-batches: give more samples" + (f", {samples} at least" if samples else "")


def _over_all(blocks: Sequence[Mapping[tuple[str, str], Block]], own: Sequence[str]) -> Conclusions:
    """Means over all checkpoints and both domains, and how many intervals lie on either side of 0."""
    lines, of_own, of_all = list[dict[str, str]](), list[str](), list[str]()
    for measure in MEASURES:
        of: dict[str, list[Mapping]] = {}
        for row in (row for found in blocks for block in found.values() for row in block):
            if row["measure"] == measure and np.isfinite(row["spearman"]):
                of.setdefault(str(row["statistic"]), []).append(row)
        mean = {name: ranks.mean_correlation([r["spearman"] for r in rows]) for name, rows in of.items()}
        known = {n: [r for r in rows if np.isfinite(r["spearman_best_low95"])] for n, rows in of.items()}
        sides = {name: [side for r in rows if (side := beats_random(r))] for name, rows in known.items()}
        ranked = sorted((name for name in of if name not in REFERENCES), key=lambda name: -abs(mean[name]))
        leaders = [name for name in ranked if name != "random"][:LEADERS]
        chosen = [name for name in dict.fromkeys((*own, *BESIDE, *leaders, *REFERENCES)) if name in of]
        lines += [
            {
                "measure": measure if i == 0 else "",
                "statistic": name,
                "rank": f"{1 + ranked.index(name)} of {len(ranked)}" if name in ranked else "-",
                "mean Spearman": _signed(mean[name]),
                "adjusted intervals": str(len(known[name])),
                "below 0: keep low": str(sides[name].count("low")),
                "above 0: keep high": str(sides[name].count("high")),
            }
            for i, name in enumerate(chosen)
        ]
        of_own += [
            f"{name} beats random in {len(sides[name])} of {_count(len(known[name]), 'comparison')} by "
            f"{measure}."
            for name in own
            if known.get(name)
        ]
        if ranked and not any(known[name] for name in ranked):
            of_all.append(f"{measure}: no interval, for it takes {_remedy(0)}.")
        elif ranked and not any(sides[name] for name in ranked if name != "random"):
            of_all.append(f"{measure}: nothing beats random in any comparison.")
    title = f"{len(blocks)} checkpoints (by group, stage and step), each in source and target"
    return Conclusions([Table(title, lines)] if lines else [], of_own + of_all)


def _candidates(block: Block) -> Block:
    """The statistics that have a rank: no references, no constant scores."""
    return [r for r in block if r["rank"] is not None]


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}" if np.isfinite(value) else "-"  # no -0.00


def _interval(row: Mapping, name: str) -> str:
    low, high = row[f"{name}_low95"], row[f"{name}_high95"]
    return f"{_signed(low)} … {_signed(high)}" if np.isfinite(low) else "-"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _listed(words: Iterable[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, final = words
    return f"{', '.join(first)} {last} {final}" if first else final
