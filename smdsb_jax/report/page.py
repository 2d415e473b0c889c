"""What our HTML pages share: each is one file, opens without a network, and takes data for text only.

A template names its parts as `{{name}}`. Beside its own there are `{{style}}` (page.css), `{{plotly}}`,
`{{data}}`, and `{{script}}`: the shared functions (page.js), then its own.
"""

import base64
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from plotly.offline import get_plotlyjs

from smdsb_jax.files import whole_file

PathLike = str | os.PathLike[str]
STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("page.css", "page.js"))


def write_page(path: PathLike, template: Path, script: Path, data: Any, parts: Mapping[str, str]) -> Path:
    """Write a page and return its path; an earlier one stays until the new one is whole.

    Args:
      path: of the HTML file; its folder is made.
      template: HTML with places for the parts.
      script: of this page.
      data: what the script finds in `DATA`; anything that JSON can hold.
      parts: HTML by name. Text of the data must have been escaped (`html.escape`).

    Raises:
      ValueError: a NaN or an infinity in `data`.
    """
    shared = {
        "style": STYLE.read_text(encoding="utf-8"),
        "plotly": get_plotlyjs(),
        "script": SCRIPT.read_text(encoding="utf-8") + script.read_text(encoding="utf-8"),
        "data": script_json(data),
    }
    own = {**parts, **shared}
    # in one pass: what is put in is not searched again
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: own[found[1]], template.read_text(encoding="utf-8"))
    path = Path(path)
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def script_json(value: Any) -> str:
    """JSON that may stand in a `<script>`: no `<` in it, so that no text can end the element.

    Raises:
      ValueError: a NaN or an infinity, which browsers do not read.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def quantize_cloud(points: Float[np.ndarray, "n 3"]) -> tuple[float, Int[np.ndarray, "n 3"]]:
    """A unit and int16 coordinates in it; off by half a unit at most, 1/65534 of the largest coordinate."""
    unit = (float(np.abs(points).max(initial=0.0)) or 1.0) / 32767
    return unit, np.rint(points / unit).astype(np.int16)


def encode(array: np.ndarray, kind: str) -> str:
    """The numbers as base64 of a little-endian type, row by row; beyond float32's range they are infinite."""
    with np.errstate(over="ignore"):
        return base64.b64encode(array.astype(kind).tobytes()).decode("ascii")
