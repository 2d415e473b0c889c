"""A run small enough for a test: a thin PointNet on a few points of the embedded data."""

from configs import methods
from smdsb_jax import choose, default_config


def tiny_config(method="defrec", **fields):
    """`tiny_config(seed=1, stage2__steps=4)`."""
    config = choose(default_config(), "encoder", "pointnet")
    config.encoder.update(
        {"input_tnet": False, "feature_tnet": False, "layers": (8, 8, 8, 8), "embedding": 16}
    )
    methods.METHODS[method](config)
    config.data.points, config.data.subsample = 32, "uniform"
    config.batch_size, config.eval_batch_size = 16, 64
    if "min_share" in config.pretext:
        config.pretext.min_share = 3 / 32
    if config.pseudo_labels.name == "graph":
        config.pseudo_labels.iterations, config.pseudo_labels.refinements = 3, 2
    if config.pseudo_labels.name == "self_paced":  # after so few steps no cloud is sure
        config.pseudo_labels.threshold, config.pseudo_labels.rounds = 0.0, 3
    config.stage1.steps = config.stage2.steps = 6
    config.log_every, config.eval_every = 2, 3
    for path, value in fields.items():
        *sections, name = path.split("__")
        section = config
        for s in sections:
            section = section[s]
        section[name] = value
    return config
