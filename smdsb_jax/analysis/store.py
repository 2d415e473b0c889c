"""What was examined, on disk: one npz per checkpoint, no pickles, written whole or not at all."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from smdsb_jax.analysis.examine import Measured
from smdsb_jax.analysis.examined import Examined
from smdsb_jax.files import whole_file

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def save(path: Path, examined: Examined, measured: Measured, about: dict[str, Any]) -> None:
    """Write a checkpoint's arrays; `about` says of what and how they were measured."""
    arrays: dict[str, np.ndarray] = {"about": np.array(json.dumps(about, sort_keys=True))}
    for field, value in examined._asdict().items():
        if isinstance(value, dict):
            arrays |= {f"{field}/{name}": array for name, array in value.items()}
        else:
            arrays[field] = np.array(value)
    for kind, values in measured._asdict().items():
        arrays |= {f"measured {kind}/{name}": array for name, array in values.items()}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_measured(path: Path, about: dict[str, Any]) -> Measured | None:
    """The measures of a checkpoint, or None where they are not there or were measured otherwise."""
    try:
        # opened here, for numpy leaves a file open that is no archive
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            if str(saved["about"]) != json.dumps(about, sort_keys=True):
                return None
            kinds = [
                {n.split("/", 1)[1]: saved[n] for n in saved.files if n.startswith(f"measured {kind}/")}
                for kind in Measured._fields
            ]
    except UNREADABLE:  # none yet, or a damaged one: it is measured again
        return None
    return Measured(*kinds)
