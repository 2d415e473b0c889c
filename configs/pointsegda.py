"""PointSegDA: parts of human bodies, twelve directions between ADOBE (a), FAUST (f), MIT (m) and SCAPE (s).

python launch/train.py --config configs/pointsegda.py:f2a --workdir runs/f2a
    (--config.data.root=FOLDER where the data are not in ./PointSegDAdataset)

Published target mIoU (%)  f2a   f2m   f2s   m2a   m2f   m2s   a2f   a2m   a2s   s2a   s2f   s2m
  no adaptation            78.5  60.9  66.5  26.6  33.6  69.9  38.5  31.2  30.0  74.1  68.4  64.5
  DefRec + SM-DSB          81.3  61.2  64.3  67.8  36.3  71.6  42.1  30.0  31.4  73.2  72.2  67.2
The budget is 200 epochs of the smaller domain in batches of 16 per domain: 200 steps where ADOBE takes part,
600 to 800 elsewhere (`steps=` gives another). This configuration has not been run on the real data here.
Options: encoder=pointnet (ours, of no published numbers), method=mlsp, selection=none, steps=2000 and task=,
pretext=, combine=, pseudo_labels= for other parts than the method's. Any field: --config.FIELD.
"""

from ml_collections import ConfigDict

from smdsb_jax import choose, default_config
from smdsb_jax.config import parse_arg
from smdsb_jax.configs import methods, segmentation
from smdsb_jax.datasets.pointsegda_counts import PUBLISHED
from smdsb_jax.registry import lookup

DOMAINS = {"a": "adobe", "f": "faust", "m": "mit", "s": "scape"}
DIRECTIONS = {f"{a}2{b}": (DOMAINS[a], DOMAINS[b]) for a in DOMAINS for b in DOMAINS if a != b}
BATCH, EPOCHS = 16, 200


def get_config(arg: str = "f2a") -> ConfigDict:
    """`f2a,encoder=pointnet,method=mlsp,selection=none,steps=2000`."""
    a = parse_arg(arg, direction="f2a", encoder="dgcnn_segmentation", **methods.OPTIONS, steps=0)
    config = choose(default_config(), "data", "pointsegda")
    config.data.root = "PointSegDAdataset"
    config.data.source, config.data.target = lookup(
        DIRECTIONS, a.direction.lower(), "config option direction"
    )
    config.data.points = 2048
    choose(config, "encoder", a.encoder)
    segmentation.apply(config, a)
    config.batch_size, config.batch_is_total = BATCH, False
    config.stage1.steps = config.stage2.steps = a.steps or published_steps(config)
    config.eval_every, config.eval_batch_size = max(config.stage1.steps // 20, 1), 32
    return config


def published_steps(config: ConfigDict) -> int:
    """200 epochs, each as long as the smaller training split lasts; an incomplete last batch is dropped."""
    clouds = (PUBLISHED[name][0] for name in (config.data.source, config.data.target))
    return EPOCHS * (min(clouds) // BATCH)
