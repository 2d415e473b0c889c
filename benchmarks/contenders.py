"""Who is compared, and what one step is: names → configurations, and the clouds that all of them get."""

from collections.abc import Mapping, Sequence
from importlib import util
from typing import Any, NamedTuple

import numpy as np

from smdsb_jax import choose, default_config, resolve
from smdsb_jax.config import Config
from smdsb_jax.datasets.domain import normalize
from smdsb_jax.registry import lookup
from smdsb_jax.state import Batch, Clouds

CLASSES = 10  # as PointDA-10 has
WITHOUT_TORCH = (
    "PyTorch is not installed, so smdsb_jax is measured alone. To compare: pip install torch (its home page, "
    "https://pytorch.org, has a smaller build for CPUs)."
)


class Setting(NamedTuple):
    """What is measured, the same for all contenders."""

    encoder: str = "dgcnn"
    tnet: bool = False  # the encoder's T-Nets
    stage: int = 1
    batch: int = 16  # clouds of each domain
    points: int = 1024
    precision: str = "float32"  # of matrix products
    device: str = "cpu"  # or gpu
    threads: int = 1  # CPU cores that each process may use
    warmup: int = 1  # steps before those that count
    k: int = 0  # neighbors of a point; 0: the encoder's own
    width: float = 1.0  # times the encoder's published one
    inference: bool = False  # instead of the step: the forward pass in inference mode


class Contender(NamedTuple):
    """An implementation of the step."""

    framework: str  # jax or torch
    fields: Mapping[str, Any]  # of the configuration
    options: Mapping[str, Any] = {}  # of reference.make_step


SHARED = {"saliency.mode": "shared"}  # the cheaper mode, hence also all of torch's
PER_SAMPLE = {"saliency.mode": "per_sample"}
GATHER = {"selection.execution": "gather", "selection.scope": "per_domain"}
NO_SELECTION = {"selection.statistic": "none"}
CONTENDERS = {
    "torch eager": Contender("torch", SHARED),  # as research code writes it
    "torch eager no selection": Contender("torch", NO_SELECTION),
    "torch compiled": Contender("torch", SHARED, {"compiled": True}),
    "torch factorised": Contender("torch", SHARED, {"factorised": True}),  # our algebra, in torch
    "torch factorised compiled": Contender("torch", SHARED, {"factorised": True, "compiled": True}),
    "torch factorised gather": Contender("torch", GATHER | SHARED, {"factorised": True}),
    "jax mask shared": Contender("jax", SHARED),
    "jax mask per_sample": Contender("jax", PER_SAMPLE),  # the library's default
    "jax gather shared": Contender("jax", GATHER | SHARED),
    "jax gather per_sample": Contender("jax", GATHER | PER_SAMPLE),
    "jax no selection": Contender("jax", NO_SELECTION),
}
DEFAULT = (
    "torch eager",
    "torch factorised",
    "torch factorised compiled",
    "jax mask shared",
    "jax mask per_sample",
    "jax gather shared",
    "jax no selection",
)


def has_torch() -> bool:
    """Whether the torch contenders can run."""
    return util.find_spec("torch") is not None


def choose_contenders(names: Sequence[str], baseline: str, torch: bool) -> tuple[list[str], str]:
    """The contenders of these names (none: the default ones) and the baseline, less torch's without torch.

    Raises:
      ValueError: an unknown name, or nothing is left.
    """
    for name in (*names, *filter(None, [baseline])):
        lookup(CONTENDERS, name, "--baseline" if name not in names else "--contenders")
    wanted = list(dict.fromkeys([*filter(None, [baseline]), *(names or DEFAULT)]))
    left = [name for name in wanted if torch or CONTENDERS[name].framework != "torch"]
    if not left:
        ours = ", ".join(name for name in CONTENDERS if CONTENDERS[name].framework == "jax")
        raise ValueError(f"--contenders: all of these need PyTorch. {WITHOUT_TORCH} Ours: {ours}.")
    first = baseline or "torch eager"
    return left, first if first in left else left[0]


def config_of(setting: Setting, contender: Contender) -> Config:
    """The configuration of a contender's step: the library's defaults with DefRec on both domains."""
    config: Config = choose(default_config(), "encoder", setting.encoder)
    for name in ("input_tnet", "feature_tnet"):
        if name in config.encoder:
            config.encoder[name] = setting.tnet
    if setting.k:
        config.encoder.k = setting.k
    if setting.width != 1:
        config.encoder.layers = tuple(int(setting.width * width) for width in config.encoder.layers)
        config.encoder.embedding = int(setting.width * config.encoder.embedding)
    config.data.points = setting.points
    # a training needs some clouds for each device; a forward pass gets as many as there are
    config.batch_size = max(setting.batch, 8) if setting.inference else setting.batch
    config.batch_is_total = False
    config.optimizer.schedule = "constant"
    config.matmul_precision = setting.precision
    config.update_from_flattened_dict(dict(contender.fields))
    return resolve(config)


def random_batch(setting: Setting, seed: int = 0, per_point: bool = False) -> Batch:
    """A batch of clouds drawn uniformly in the unit ball, normalized; stage 2 has pseudo-labels.

    Labels are of clouds, or `per_point`.
    """
    rng = np.random.default_rng(seed)

    def half(labelled: bool, weighted: bool) -> Clouds:
        direction = rng.normal(size=(setting.batch, setting.points, 3))
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        radius = rng.uniform(size=(setting.batch, setting.points, 1)) ** (1 / 3)
        shape = (setting.batch, setting.points) if per_point else (setting.batch,)
        label: Any = rng.integers(0, CLASSES, shape).astype(np.int32)
        weight: Any = rng.uniform(0.5, 1, shape).astype(np.float32)
        points: Any = normalize(direction * radius)
        return Clouds(points, label if labelled else None, weight if weighted else None)

    return Batch(half(True, False), half(setting.stage == 2, setting.stage == 2))
