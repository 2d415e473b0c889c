"""The embedded body clouds: part segmentation from makehuman (m) to scan (s) and back.

python launch/train.py --config configs/bodies.py:m2s --workdir runs/bodies

A small trial, not a benchmark (see smdsb_jax/datasets/bodies/README.md). Options are those of
configs/embedded.py, methods those of configs/segmentation.py; `default` has 200 steps a stage, `study` 100.
"""

from ml_collections import ConfigDict

from smdsb_jax import choose, default_config
from smdsb_jax.config import parse_arg
from smdsb_jax.configs import embedded, methods, segmentation
from smdsb_jax.registry import lookup

BUDGETS = {"default": embedded.trial, "study": embedded.study}
DIRECTIONS = {"m2s": ("makehuman", "scan"), "s2m": ("scan", "makehuman")}


def get_config(arg: str = "m2s") -> ConfigDict:
    """`m2s,encoder=pointnet,method=mlsp,selection=none,budget=study,seed=1`."""
    a = parse_arg(arg, direction="m2s", encoder="dgcnn", **methods.OPTIONS, budget="default", seed=0)
    config = choose(default_config(), "data", "bodies")
    config.data.source, config.data.target = lookup(
        DIRECTIONS, a.direction.lower(), "config option direction"
    )
    config.seed = a.seed
    choose(config, "encoder", a.encoder)
    segmentation.apply(config, a)
    lookup(BUDGETS, a.budget, "config option budget")(config)
    config.batch_size = 16
    config.validators.clouds = 16  # of whose points there are thousands
    return config
