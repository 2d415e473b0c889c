r"""Clouds of your own: ROOT/DOMAIN/{train,test}/CLASS/*.npy; a target may lack labels (docs/data.md).

python launch/train.py --config configs/folder.py:source=cad,target=scan --config.data.root=clouds \
    --config.stage1.steps=1000 --config.stage2.steps=1000 --workdir runs/cad2scan

Without them the budget is the default one: 40,000 steps a stage.
Options: encoder=pointnet, method=defrec_pcm, selection=none and pretext=, combine=, pseudo_labels= for other
parts than the method's.
"""

from ml_collections import ConfigDict

from configs import methods
from smdsb_jax import choose, default_config
from smdsb_jax.config import parse_arg


def get_config(arg: str = "") -> ConfigDict:
    """`source=cad,target=scan,encoder=pointnet,method=defrec_pcm,selection=none`."""
    a = parse_arg(arg, source="", target="", encoder="dgcnn", **methods.OPTIONS)
    if not a.source or not a.target:
        raise ValueError(
            "config options source and target: name two folders of --config.data.root, as in "
            "configs/folder.py:source=cad,target=scan."
        )
    config = choose(default_config(), "data", "folder")
    config.data.source, config.data.target = a.source, a.target
    choose(config, "encoder", a.encoder)
    return methods.apply(config, a)
