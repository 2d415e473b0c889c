r"""Clouds of your own: ROOT/DOMAIN/{train,test}/CLASS/*; a target may lack labels (docs/data.md).

python launch/train.py --config configs/folder.py:cad2scan,budget=trial --config.data.root=clouds \
    --workdir runs/cad2scan

Budgets: `trial` is a narrow DGCNN for 200 steps a stage, minutes on 2 CPU cores; `long` the same network for
1,500 steps a stage, ten minutes; `published` (without budget= too) is PointDA-10's, 40,000 steps a stage, for
a GPU.
Options: source=cad,target=scan where a name holds a 2, y_up=cad+scan for domains whose files have y up,
encoder=pointnet, method=defrec_pcm, selection=none, seed=1 and pretext=, combine=, pseudo_labels= for other
parts than the method's. Any field: --config.FIELD.
"""

from ml_collections import ConfigDict

from smdsb_jax import choose, default_config
from smdsb_jax.config import parse_arg
from smdsb_jax.configs import embedded, methods, pointda
from smdsb_jax.registry import lookup


def long(config: ConfigDict) -> None:
    """A narrow DGCNN at 512 points, 32 clouds a step: 1,500 steps a stage, evaluated ten times."""
    embedded.small(config, steps=1500)
    config.eval_every, config.log_every = 150, 50


BUDGETS = {"trial": embedded.trial, "long": long, "published": pointda.published}


def get_config(arg: str = "") -> ConfigDict:
    """`cad2scan,budget=trial,y_up=cad,encoder=pointnet,method=defrec_pcm,selection=none`."""
    own = {"budget": "published", "y_up": "", "encoder": "dgcnn"}
    a = parse_arg(arg, direction="", source="", target="", **own, **methods.OPTIONS, seed=0)
    if not a.source and not a.target and a.direction.count("2") == 1:
        a.source, a.target = a.direction.split("2")
    a.source = a.source or a.direction
    if not a.source or not a.target:
        raise ValueError(
            "config options source and target: name two folders of --config.data.root, as in "
            "configs/folder.py:cad2scan, or source=cad,target=scan where a name holds a 2."
        )
    config = choose(default_config(), "data", "folder")
    config.data.source, config.data.target, config.data.y_up = a.source, a.target, a.y_up
    config.seed = a.seed
    choose(config, "encoder", a.encoder)
    methods.apply(config, a)
    lookup(BUDGETS, a.budget, "config option budget")(config)
    return config
