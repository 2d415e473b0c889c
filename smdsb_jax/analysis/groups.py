"""Which checkpoints belong together: those of runs that differ in the seed only."""

import json
from collections.abc import Sequence

from smdsb_jax.analysis.subject import Located
from smdsb_jax.config import flatten

# fields in which runs of one group may differ: they change no number of a checkpoint, or are its seed
OF_A_RUN = (
    "seed", "log_every", "eval_every", "eval_batch_size", "keep_checkpoints", "stages", "data.root",
    "data.cache", "init_from",
)  # fmt: skip


def group_names(found: Sequence[Located]) -> list[str]:
    """Of each checkpoint the name of its group: what was run, but for the seed.

    Runs whose configuration differs in what the name does not tell get a number behind it.
    """
    known: dict[str, list[str]] = {}
    names = []
    for f in found:
        config = f.config
        fields = {k: v for k, v in flatten(config).items() if k not in OF_A_RUN}
        own = json.dumps(fields, sort_keys=True, default=str)
        selection, data = config["selection"], config["data"]
        how = selection["statistic"]
        how = "no selection" if how == "none" else f"{how} {selection['side']} {selection['keep_ratio']:g}"
        name = f"{config['pretext']['name']}, {how}, {data['source']} → {data['target']}"
        same = known.setdefault(name, [])
        if own not in same:
            same.append(own)
        place = same.index(own)
        names.append(name if place == 0 else f"{name} ({place + 1})")
    return names
