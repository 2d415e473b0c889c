import itertools
import sys

import numpy as np
import pytest

import smdsb_jax
from smdsb_jax.build import build_parts, load_domains
from smdsb_jax.configs import embedded, folder, methods, pointda
from smdsb_jax.defaults import SECTIONS
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.flags import load_config
from tests.tiers import cases

CONFIGS = {"embedded": embedded, "pointda": pointda}
FIRST = {"embedded": "c2s", "pointda": "m2s", "folder": "source=cad,target=scan"}
ENCODER = """
import flax.linen as nn

class Encoder(nn.Module):
    width: int = 8

    @nn.nowrap
    def head(self, classes, dropout):
        return nn.Dense(classes)
"""


@pytest.mark.parametrize("method", cases(methods.METHODS, "gast", "oracle"))
@pytest.mark.parametrize("name", CONFIGS)
def test_every_direction_encoder_and_budget_resolves(name, method):
    module = CONFIGS[name]
    budgets = [f",budget={b}" for b in module.BUDGETS] if name == "embedded" else [""]
    for direction, encoder, budget in itertools.product(module.DIRECTIONS, ENCODERS, budgets):
        config = load_config(f"configs/{name}.py:{direction},encoder={encoder},method={method}{budget}")
        config = smdsb_jax.resolve(config)  # on 4 devices: the batch divides
        letters = direction.split("2")
        source, target = (module.DOMAINS[c] for c in letters)
        assert (config.data.source, config.data.target) == (target if method == "oracle" else source, target)
        assert config.encoder.name == encoder and config.data.name == name


@pytest.mark.parametrize("name", CONFIGS)
def test_six_directions(name):
    directions = CONFIGS[name].DIRECTIONS
    assert len(directions) == 6 and len(set(directions.values())) == 6
    assert all(source != target for source, target in directions.values())


def test_the_papers_spelling_of_the_scans():
    for star, letter in (("m2s*", "m2r"), ("s*2m", "r2m"), ("s2s*", "s2r"), ("S*2S", "r2s")):
        assert pointda.get_config(star).to_dict() == pointda.get_config(letter).to_dict()
    assert pointda.get_config("m2r").data.target == "scannet"
    assert pointda.get_config("m2s").data.target == "shapenet"


def test_the_published_budgets_of_pointda():
    dgcnn, pointnet = (pointda.get_config(f"m2s,encoder={e}") for e in ("dgcnn", "pointnet"))
    assert (dgcnn.batch_size, dgcnn.stage1.steps, dgcnn.stage2.steps) == (64, 40_000, 40_000)
    assert (pointnet.batch_size, pointnet.stage1.steps, pointnet.stage2.steps) == (128, 10_000, 10_000)
    for config in (dgcnn, pointnet):
        assert config.batch_is_total and config.data.points == 1024 and config.data.subsample == "fps"
        assert (config.selection.keep_ratio, config.selection.statistic) == (0.7, "skewness")


def test_the_methods_are_the_hosts_protocols():
    names = ("defrec", "defrec_pcm", "source_only", "oracle")
    defrec, pcm, source_only, oracle = (pointda.get_config(f"m2s,method={m}") for m in names)
    for config in (defrec, pcm):
        assert (config.pretext.name, config.pretext.weight, config.classification.weight) == (
            "defrec",
            0.2,
            0.8,
        )
        assert config.stages == (1, 2) and config.pretext.on_source
    rule = {"name": "adam", "learning_rate": 1e-3, "weight_decay": 5e-5, "schedule": "cosine"}
    assert defrec.optimizer.to_dict() == rule
    assert (defrec.classification.mixup, pcm.classification.mixup) == ("none", "pcm")
    assert source_only.pretext.name == "none" and source_only.selection.statistic == "none"
    assert source_only.classification.weight == 1.0 and source_only.stages == (1,)
    assert oracle.data.source == oracle.data.target == "shapenet"
    oracle.data.source = "modelnet"
    assert oracle.to_dict() == source_only.to_dict()


def test_self_distillation_as_published():
    config = pointda.get_config("m2s,method=self_distillation")
    assert config.optimizer.to_dict() == {
        "name": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4, "schedule": "one_cycle",
    }  # fmt: skip
    assert (config.pretext.weight, config.classification.weight, config.stage2.init) == (1.0, 1.0, "fresh")
    assert (config.data.subsample, config.augment.scale, config.augment.elastic) == (
        "uniform",
        (0.7, 1.5),
        0.95,
    )
    assert config.augment.rotate == "z" and not config.augment.rotate_target
    graph = config.pseudo_labels
    assert (graph.name, graph.unsure_weight, graph.correlation, graph.degree) == ("graph", 0.2, 0.95, 10)
    assert (graph.iterations, graph.refinements) == (1000, 19)
    occluded = {
        d: pointda.get_config(f"{d},method=self_distillation").augment.occlusion for d in pointda.DIRECTIONS
    }
    assert {d for d, share in occluded.items() if share == 0.3} == {"m2r", "s2r"}
    assert {share for d, share in occluded.items() if d not in ("m2r", "s2r")} == {0.0}


def test_gast_as_published_keeps_its_tasks_in_stage_2_only_to_select_for_them():
    alone, selected = (pointda.get_config(f"m2s,method=gast,selection={s}") for s in ("none", "skewness"))
    assert (alone.stage2.pretext, selected.stage2.pretext) == (False, True)
    for config in (alone, selected):
        weights = (
            config.classification.weight,
            config.pretext.distortion_weight,
            config.pretext.rotation_weight,
        )
        assert weights == (0.5, 0.5, 0.2) and config.pretext.weight == 1.0
        assert (config.stage2.schedule, config.stage2.init) == ("waves", "stage1")
        assert (config.pseudo_labels.name, config.pseudo_labels.threshold) == ("self_paced", 0.8)
    for config, stage, tasks in ((alone, 1, True), (alone, 2, False), (selected, 2, True)):
        parts = build_parts(smdsb_jax.resolve(config), stage, 10)
        assert bool(parts.pretext.names) == tasks
        assert (parts.selection is not None) == (config is selected)


def test_mlsp_as_published_has_its_tasks_on_the_target_in_stage_1():
    alone, selected = (pointda.get_config(f"m2r,method=mlsp,selection={s}") for s in ("none", "skewness"))
    assert (alone.stage2.pretext, selected.stage2.pretext) == (False, True)
    assert (alone.pretext.on_source, selected.pretext.on_source) == (False, True)
    task = alone.pretext
    assert (task.position_weight, task.normal_weight, task.cardinality_weight) == (0.5, 0.5, 0.05)
    assert (task.weight, alone.classification.weight, alone.classification.mixup) == (1.0, 0.5, "pcm")
    rule = {"name": "adam", "learning_rate": 1e-3, "weight_decay": 5e-5, "schedule": "cosine"}
    assert alone.optimizer.to_dict() == rule and alone.stage2.schedule == "wave"
    rounds = alone.pseudo_labels
    assert (rounds.name, rounds.score, rounds.threshold) == ("self_paced", "double_softmax", 1.5492)
    assert (rounds.step, rounds.rounds, alone.stage2.init) == (0.0, 2, "stage1")
    radii = {d: pointda.get_config(f"{d},method=mlsp").pretext.count_radius for d in ("s2m", "m2s", "m2r")}
    assert radii == {"s2m": 0.13, "m2s": 0.12, "m2r": 0.135}
    assert embedded.get_config("c2s,method=mlsp").pretext.count_radius == 0.13


def test_glrv_warms_up_in_stage_1_and_votes_in_stage_2():
    alone, selected = (pointda.get_config(f"m2s,method=glrv,selection={s}") for s in ("none", "skewness"))
    assert (alone.pretext.on_source, selected.pretext.on_source) == (False, True)
    for config in (alone, selected):
        weights = (config.pretext.weight, config.pretext.scale_weight, config.pretext.projection_weight)
        assert weights == (1.0, 0.2, 0.2)
        assert (config.classification.weight, config.classification.mixup) == (1.0, "none")
        assert config.optimizer == pointda.get_config("m2s,method=defrec").optimizer
        assert (config.stages, config.stage2.init, config.stage2.pretext) == ((1, 2), "stage1", True)
        votes = config.pseudo_labels
        assert (votes.name, votes.neighbors, votes.threshold, votes.refinements) == ("voted", 10, 1.0, 139)
        assert build_parts(smdsb_jax.resolve(config), 2, 10).pretext.names == ("scale", "projection")


def test_the_pilot_is_random_selection_of_half_of_each_domain():
    config = embedded.get_config("c2s,selection=pilot").selection
    assert (config.statistic, config.keep_ratio, config.scope) == ("random", 0.5, "per_domain")
    assert config.freeze_unlabelled
    with pytest.raises(ValueError, match="no pretext task"):
        embedded.get_config("c2s,method=oracle,selection=pilot")


def test_the_embedded_budgets():
    default, study = embedded.get_config("c2s"), embedded.get_config("c2s,budget=study")
    assert (default.encoder.name, study.encoder.name) == ("pointnet", "pointnet")
    assert (study.stage1.steps, study.stage2.steps, study.stage2.pretext) == (100, 100, True)
    for config in (default, study):
        assert config.data.points == 512
        assert config.stage1.steps % config.eval_every == config.stage2.steps % config.eval_every == 0
    assert study.stage1.steps < default.stage1.steps
    assert embedded.get_config("c2s,encoder=dgcnn,budget=study").encoder.embedding == 256


def test_a_first_run_trains_on_votes_where_the_method_would_on_all_labels():
    def labels(options=""):
        return embedded.get_config(f"s2c{options}").pseudo_labels

    assert labels().to_dict() == labels(",method=defrec").to_dict()
    assert (labels().name, labels().threshold, labels().refinements) == ("voted", 0.9, 12)
    assert labels(",pseudo_labels=max_confidence").name == "max_confidence"
    assert labels(",method=gast").name == "self_paced"  # its own
    assert labels(",budget=study").name == "max_confidence"


def test_options_reach_their_fields():
    config = embedded.get_config("b2c,selection=random,seed=7")
    assert (config.selection.statistic, config.seed) == ("random", 7)
    assert pointda.get_config("m2s,selection=none").selection.statistic == "none"
    assert embedded.get_config("c2s,method=source_only,selection=none").selection.statistic == "none"
    assert embedded.get_config().to_dict() == embedded.get_config("s2c").to_dict()
    assert pointda.get_config().to_dict() == pointda.get_config("m2s").to_dict()


def test_pointdan_as_published():
    configs = {
        d: pointda.get_config(f"{d},method=pointdan,encoder=node_pointnet") for d in pointda.DIRECTIONS
    }
    for direction, config in configs.items():
        weight = 0.5 if direction in ("m2r", "s2r", "r2s") else 1.0
        assert config.classification.weight == config.pretext.class_weight == weight
        assert (config.pretext.name, config.pretext.weight, config.batch_size) == ("pointdan", 1.0, 128)
        assert config.optimizer.to_dict() == {
            "name": "adam", "learning_rate": 1e-4, "weight_decay": 5e-4, "schedule": "cosine",
        }  # fmt: skip
        assert config.pretext.on_source and config.augment.jitter_clip == 0.05


def test_dfan_has_the_protocol_of_defrec():
    dfan, defrec = (pointda.get_config(f"m2s,method={m}") for m in ("dfan", "defrec"))
    assert dfan.optimizer.to_dict() == defrec.optimizer.to_dict()
    assert (dfan.pretext.name, dfan.pretext.align, dfan.pretext.on_source) == ("dfan", "mmd", True)
    assert dfan.pretext.weight == dfan.classification.weight == 1.0


@pytest.mark.parametrize(
    "arg, words",
    [
        ("c2x", "config option direction = 'c2x' is not known. Did you mean"),
        ("c2s,methd=defrec", "config option 'methd' is not known. Did you mean 'method'?"),
        ("c2s,method=defrek", "config option method = 'defrek' is not known. Did you mean 'defrec'?"),
        ("c2s,encoder=dgcn", "config.encoder.name = 'dgcn' is not known. Did you mean 'dgcnn'?"),
        ("c2s,budget=large", "config option budget = 'large' is not known. Known: default, study."),
        ("c2s,seed=one", "config option seed = 'one': give a int"),
        ("c2s,method=source_only,selection=skewness", "method=source_only has no pretext task"),
    ],
)
def test_what_is_not_known_is_told(arg, words):
    with pytest.raises(ValueError) as error:
        embedded.get_config(arg)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "arg, words",
    [
        ("m2x", "Known: m2r, m2s, r2m, r2s, s2m, s2r."),
        ("m2s,budget=study", "config option 'budget' is not known."),
        ("m2s,encoder=pointnett", "Did you mean 'pointnet'?"),
        ("m2s,method=source_only,selection=random", "has no pretext task to select for"),
    ],
)
def test_what_pointda_does_not_know_is_told(arg, words):
    with pytest.raises(ValueError) as error:
        pointda.get_config(arg)
    assert words in str(error.value)


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("section", ["pretext", "combine", "pseudo_labels"])
def test_every_part_can_be_chosen_in_place_of_the_methods(name, section):
    for part in SECTIONS[section]:
        config = load_config(f"configs/{name}.py:{FIRST[name]},{section}={part}")
        assert smdsb_jax.resolve(config)[section].name == part
    with pytest.raises(ValueError, match=rf"config\.{section}\.name = 'nothing' is not known\."):
        load_config(f"configs/{name}.py:{FIRST[name]},{section}=nothing")


def test_a_part_takes_the_place_of_the_methods_with_the_methods_weights():
    config = pointda.get_config("m2s,pretext=defrec_radius,combine=pcgrad,selection=random")
    assert (config.pretext.name, config.pretext.weight) == ("defrec_radius", 0.2)
    assert (config.combine.name, config.selection.statistic) == ("pcgrad", "random")
    assert embedded.get_config("c2s,method=source_only,pretext=defrec,selection=random").stages == (1,)
    with pytest.raises(ValueError, match="selection=random: pretext=none is no pretext task to select for"):
        pointda.get_config("m2s,pretext=none,selection=random")


@pytest.mark.parametrize("name", FIRST)
def test_an_encoder_that_the_files_do_not_know_keeps_its_own_options(name, tmp_path, monkeypatch):
    (tmp_path / "own_encoder.py").write_text(ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config(f"configs/{name}.py:{FIRST[name]},encoder=own_encoder:Encoder")
    assert smdsb_jax.resolve(config).encoder.to_dict() == {"name": "own_encoder:Encoder", "width": 8}
    del sys.modules["own_encoder"]


def test_a_folder_needs_no_code(tmp_path):
    for domain, split, name in itertools.product(("cad", "scan"), ("train", "test"), ("jug", "mug")):
        where = tmp_path / domain / split / name
        where.mkdir(parents=True)
        for i in range(10):
            np.save(where / f"{i}.npy", np.random.default_rng(i).random((30, 3)))
    config = folder.get_config("source=cad,target=scan,encoder=pointnet")
    config.data.root, config.data.points = str(tmp_path), 30
    source, target = load_domains(smdsb_jax.resolve(config))
    assert (source.name, target.name, source.classes) == ("cad", "scan", ("jug", "mug"))
    assert (
        folder.get_config("cad,target=scan").to_dict()
        == folder.get_config("source=cad,target=scan").to_dict()
    )


def test_the_budgets_of_a_folder():
    given = {b: folder.get_config(f"cad,target=scan{b}") for b in ("", ",budget=published", ",budget=trial")}
    none, published, trial = given.values()
    assert none.to_dict() == published.to_dict()
    assert (none.batch_size, none.stage1.steps, none.stage2.steps) == (64, 40_000, 40_000)
    pointnet = folder.get_config("cad,target=scan,encoder=pointnet")
    assert (pointnet.batch_size, pointnet.stage2.steps) == (128, 10_000)
    assert trial.stage1.steps == 200 and trial.encoder.embedding == 256 and trial.data.points == 512
    assert trial.encoder.name == "dgcnn" and trial.stage2.steps == 200 and trial.stage2.pretext
    for config in (none, pointnet, trial):
        smdsb_jax.resolve(config)
    with pytest.raises(ValueError, match="config option budget = 'trail' is not known. Did you mean 'trial'"):
        folder.get_config("cad,target=scan,budget=trail")


def test_the_options_of_a_folder():
    config = folder.get_config("cad,target=scan,y_up=cad+scan,seed=3")
    assert config.data.y_up == "cad+scan" and config.seed == 3


def test_a_direction_between_folders_is_one_word_where_no_name_holds_a_2():
    for arg in ("cad2scan", "source=cad,target=scan", "cad,target=scan"):
        data = folder.get_config(arg).data
        assert (data.source, data.target) == ("cad", "scan")
    data = folder.get_config("v2cad,target=scan").data
    assert (data.source, data.target) == ("v2cad", "scan")


@pytest.mark.parametrize("arg", ["", ":cad", ":source=cad", ":target=scan", ":v2cad2scan"])
def test_a_folder_needs_both_domains(arg):
    with pytest.raises(ValueError, match="options source and target: name two folders of --config.data.root"):
        load_config(f"configs/folder.py{arg}")
