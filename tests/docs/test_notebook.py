"""docs/notebook.ipynb as its reader runs it, on a thinner network; and the outputs that it is shown with."""

import json
import re
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.tiers import exhaustive

CELLS = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def value_of(source, names):
    """Run a cell; what it shows: the value of its last line, where that is an expression."""
    lines = source.rstrip().splitlines()
    start = max(i for i, line in enumerate(lines) if not line.startswith((" ", ")")))
    exec("\n".join(lines[:start]), names)
    try:
        return eval("\n".join(lines[start:]), names)
    except SyntaxError:
        return exec("\n".join(lines[start:]), names)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What each cell of code shows, and how."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        names, values = {"Image": lambda path, width: Path(path).read_bytes()}, []
        for cell in CODE:
            source = "".join(cell["source"]).replace("points=256", "points=32")
            values.append(value_of(source.replace("from IPython.display import Image\n", ""), names))
            if len(values) == 1:
                config = names["config"]
                config.stage1.steps = config.stage2.steps = 6
                config.data.points, config.encoder.layers, config.encoder.embedding = 32, (8, 8), 16
                config.pretext.min_share, config.batch_size, config.eval_every = 0.09375, 16, 3
            values[-1] = values[-1], repr(values[-1])
        return values


@exhaustive
def test_it_trains_evaluates_and_draws(shown):
    assert shown[1][1].startswith("Result(runs/notebook, finished: ")
    assert [value[:4] for value, _ in shown if isinstance(value, bytes)] == [b"\x89PNG"] * 2
    assert "blend test" in shown[4][1]


def test_it_is_kept_with_the_outputs_of_one_run_in_order_and_without_errors():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert all(output["output_type"] != "error" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert not re.search(r"[\"' ]/(home|root|tmp|work)/", json.dumps(outputs))
