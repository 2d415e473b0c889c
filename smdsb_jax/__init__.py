"""SM-DSB in JAX: domain adaptation of point cloud classifiers with saliency-selected pretext gradients.

The modules in the order in which data flows: `datasets` → `sampling` → `augment` → `encoders`, `tasks`,
`network` → `saliency` → `statistics` → `selection` → `pretext` → `combine` → `optimizer` → `train_step` →
`pseudo_labels` → `run` → `report`, `inference`. `layers` and `geometry` are what those are made of; `config`,
`parts` and `build` say which of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smdsb_jax.config import resolve
    from smdsb_jax.defaults import choose, default_config
    from smdsb_jax.inference import load, predict, samples, score
    from smdsb_jax.report.evaluation import evaluate
    from smdsb_jax.report.summary import write_summary
    from smdsb_jax.run.loop import train_and_evaluate

__version__ = "0.1.0"
__all__ = [
    "choose", "default_config", "evaluate", "load", "predict", "resolve", "samples", "score",
    "train_and_evaluate", "write_summary",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What the package offers, imported when it is first asked for: the command's help needs no jax."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_module_of.get(name, 'inference')}"), name)


_module_of = {
    "choose": "defaults", "default_config": "defaults", "evaluate": "report.evaluation", "resolve": "config",
    "train_and_evaluate": "run.loop", "write_summary": "report.summary",
}  # fmt: skip
