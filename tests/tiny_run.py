"""Configurations small enough for a test: thin encoders on a few points."""

from smdsb_jax import choose, default_config
from smdsb_jax.configs import bodies, methods

ENCODERS = {
    "pointnet": {"input_tnet": False, "feature_tnet": False, "layers": (8, 8), "embedding": 16},
    "dgcnn": {"input_tnet": False, "layers": (8,), "k": 5, "embedding": 16},
}


def tiny_config(method="defrec", **fields):
    """Of a run on the embedded data: `tiny_config(seed=1, stage2__steps=4)`."""
    config = choose(default_config(), "encoder", "pointnet")
    config.encoder.update(ENCODERS["pointnet"])
    methods.METHODS[method](config)
    config.data.points, config.data.subsample = 32, "uniform"
    config.batch_size, config.eval_batch_size = 16, 64
    if "min_share" in config.pretext:
        config.pretext.min_share = 3 / 32
    if "queries" in config.pretext:
        config.pretext.queries = 64
    if config.pseudo_labels.name == "graph":
        config.pseudo_labels.iterations, config.pseudo_labels.refinements = 3, 2
    if config.pseudo_labels.name == "self_paced":  # after so few steps no cloud is sure
        config.pseudo_labels.threshold = 0.0 if config.pseudo_labels.score == "confidence" else 2.0
        config.pseudo_labels.rounds = 3
    if config.pseudo_labels.name == "voted":  # nor do ten agree
        config.pseudo_labels.threshold, config.pseudo_labels.refinements = 0.5, 2
    config.stage1.steps = config.stage2.steps = 6
    config.log_every, config.eval_every = 2, 3
    config.validators.names = ("entropy", "infomax", "snd")  # no process imports scikit-learn for them
    return with_fields(config, fields)


def tiny_segmentation(**fields):
    """Of a run of both stages on the embedded bodies, whose points have labels."""
    config = bodies.get_config("m2s,encoder=pointnet")
    config.encoder.update(ENCODERS["pointnet"])
    config.data.points = 64
    config.pretext.min_share = 3 / 64
    config.stages = (1, 2)
    config.stage1.steps = config.stage2.steps = 6
    config.log_every, config.eval_every, config.eval_batch_size = 2, 3, 64
    return with_fields(config, fields)


def step_config(encoder="pointnet", pretext="defrec", **fields):
    """Of a step that is called by itself, with few layers: `step_config("dgcnn", data__points=48)`."""
    config = choose(choose(default_config(), "encoder", encoder), "pretext", pretext)
    config.encoder.update(ENCODERS[encoder])
    config.data.points, config.data.subsample, config.batch_size = 32, "uniform", 16
    with_fields(config, fields)
    if "min_share" in config.pretext and "pretext__min_share" not in fields:
        config.pretext.min_share = 3 / config.data.points
    if "queries" in config.pretext and "pretext__queries" not in fields:
        config.pretext.queries = 64
    return config


def with_fields(config, fields):
    """`encoder__embedding=16` is config.encoder.embedding."""
    for path, value in fields.items():
        *sections, name = path.split("__")
        section = config
        for s in sections:
            section = section[s]
        section[name] = value
    return config
