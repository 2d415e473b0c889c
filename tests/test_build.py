import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax import choose, resolve
from smdsb_jax.build import (
    abstract_state,
    build_labels,
    build_parts,
    build_schedule,
    init_state,
    load_domains,
)
from smdsb_jax.pretext import PRETEXT
from smdsb_jax.pseudo_labels import Evidence
from smdsb_jax.scores import splits_of
from smdsb_jax.state import Predictions
from smdsb_jax.statistics.skewness import skewness
from tests.tiny_run import tiny_config


def started(seed=0, classes=3, pretext="defrec", **fields):
    config = tiny_config(**fields)
    if pretext != "defrec":
        choose(config, "pretext", pretext)
    parts = build_parts(resolve(config), 1, classes)
    return parts, jax.jit(lambda key: init_state(parts, key))(jax.random.key(seed))


@pytest.fixture(scope="module")
def states():
    return started(0), started(1)


def test_the_learning_rate_is_that_of_the_updates_of_each_stage():
    config = tiny_config(stage2__schedule="wave", optimizer__weight_decay=0.0)
    for stage in (1, 2):
        optimizer = build_parts(resolve(config), stage, 3).optimizer
        state = optimizer.init(jnp.ones(1))
        for step in range(4):  # of a constant gradient, Adam's update is the rate
            update, state = optimizer.update(jnp.ones(1), state, jnp.ones(1))
            rate = build_schedule(config, stage)(step)
            np.testing.assert_allclose(-update[0], rate, rtol=1e-4, atol=1e-9)


def test_the_abstract_state_is_that_of_a_fresh_one(states):
    (parts, state), _ = states
    place = jax.sharding.SingleDeviceSharding(jax.devices()[1])
    shapes = abstract_state(parts, place)
    chex.assert_trees_all_equal_structs(shapes, state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert {leaf.sharding for leaf in jax.tree.leaves(shapes)} == {place}


def test_the_start_depends_on_the_key_alone(states):
    (_, state), (_, other) = states
    _, again = started(0)
    chex.assert_trees_all_equal(state.variables, again.variables)
    kernels = [s.variables["params"]["encoder"]["conv1"]["dense"]["kernel"] for s in (state, other)]
    assert not np.allclose(*kernels)
    assert int(state.step) == 0 and set(state.variables["params"]) == {"encoder", "head", "pretext"}


def started_from(parts, given):
    return jax.jit(lambda key, variables: init_state(parts, key, variables))(jax.random.key(0), given)


def test_given_variables_are_copied_and_the_rest_is_fresh(states):
    (parts, fresh), (_, given) = states
    taken = started_from(parts, given.variables)
    chex.assert_trees_all_equal(taken.variables, given.variables)
    chex.assert_trees_all_equal(taken.opt_state, fresh.opt_state)
    assert taken.key == fresh.key and taken.step == fresh.step
    jax.tree.map(lambda leaf: leaf.delete(), taken.variables)  # as donation does
    chex.assert_tree_all_finite(given.variables)


@pytest.mark.parametrize("other", [{"encoder__embedding": 24}, {"classes": 4}], ids=["encoder", "classes"])
def test_another_network_is_refused(states, other):
    (_, fresh), _ = states
    _, given = started(1, **other)
    with pytest.raises(ValueError, match="do not fit config.encoder or the classes"):
        jax.eval_shape(lambda variables: init_state(states[0][0], fresh.key, variables), given.variables)


def test_the_head_of_another_pretext_task_stays_fresh(states):
    (parts, fresh), (_, given) = states
    without, bare = started(1, pretext="none", selection__statistic="none")
    taken = started_from(parts, bare.variables)
    chex.assert_trees_all_equal(taken.variables["params"]["encoder"], bare.variables["params"]["encoder"])
    chex.assert_trees_all_equal(taken.variables["params"]["pretext"], fresh.variables["params"]["pretext"])
    back = started_from(without, given.variables)
    assert back.variables["params"]["pretext"] == bare.variables["params"]["pretext"] == {}


@pytest.mark.parametrize("name", PRETEXT)
@pytest.mark.parametrize("stage", [1, 2])
def test_parts_are_what_the_configuration_says(name, stage):
    config = choose(tiny_config(stage2__steps=9, classification__mixup="pcm"), "pretext", name)
    config.saliency.alpha = 2.0
    parts = build_parts(resolve(config), stage, 3)
    assert parts.steps == {1: 6, 2: 9}[stage] and parts.mixup_alpha == 1.0
    assert (parts.saliency_mode, parts.saliency_alpha) == ("per_sample", 2.0)
    assert parts.augment.points == 32 and parts.augment.subsample == "uniform"
    assert (parts.class_weight, parts.pretext_weight) == (config.classification.weight, 0.2)
    if name == "none":
        assert parts.selection is None  # nothing to select for
    else:
        assert parts.selection is not None and parts.selection.score is skewness
        assert (parts.selection.keep_ratio, parts.selection.side) == (0.7, "low")
        assert parts.selection.target_shift == (0.1, 0.1)


def test_without_mixup_or_a_statistic_there_is_none():
    parts = build_parts(resolve(tiny_config(selection__statistic="none")), 1, 3)
    assert parts.selection is None and parts.mixup_alpha == 0.0


def test_the_rule_of_pseudo_labels_has_its_options():
    rule = build_labels(resolve(tiny_config(pseudo_labels__threshold=0.9)))
    logits = jnp.array([[5.0, 0.0, 0.0], [0.1, 0.0, 0.0]])
    found = rule.assign(jax.random.key(0), Evidence(Predictions(logits, jnp.zeros((2, 4)))))
    np.testing.assert_array_equal(found.weight, [1, 0])


def test_both_domains_and_what_they_may_not_differ_in(tmp_path):
    impossible = {"pseudo_labels__threshold": 1.0}  # of 7 classes
    with pytest.raises(ValueError, match="the double_softmax of 7 classes is at least 1.1654"):
        load_domains(resolve(tiny_config("mlsp", **impossible)))
    assert load_domains(resolve(tiny_config("mlsp", stages=(1,), **impossible)))
    source, target = load_domains(resolve(tiny_config()))
    assert (source.name, target.name) == ("catalog", "scan") and source.classes == target.classes
    rng = np.random.default_rng(0)
    for domain, classes in (("a", ("bed", "sofa")), ("b", ("bed", "lamp"))):
        for split in ("train", "val", "test"):
            for name in classes:
                folder = tmp_path / domain / split / name
                folder.mkdir(parents=True)
                np.save(folder / "1.npy", rng.random((40, 3)).astype(np.float32))
    config = choose(tiny_config(), "data", "folder")
    config.data.update({"root": str(tmp_path), "source": "a", "target": "b"})
    with pytest.raises(ValueError, match=r"'b' has classes that the source lacks: lamp \(it has bed, sofa\)"):
        load_domains(config)
    config.data.extra_classes = "unlabelled"
    target = load_domains(config)[1]
    assert target.classes == ("bed", "sofa") and target.train.label.tolist() == [0, -1]


def test_data_with_labels_of_another_kind_than_the_tasks_are_refused():
    with pytest.raises(ValueError) as told:
        load_domains(choose(tiny_config(), "task", "segmentation"))
    assert str(told.value) == (
        "Domain 'catalog' has a label for each cloud; config.task.name = 'segmentation' needs one for each "
        "point. Choose the other task, as with task= in the config file's argument, or other data."
    )


def test_what_a_run_needs_of_its_domains(tmp_path):
    def add(path):
        (tmp_path / path).mkdir(parents=True)
        np.save(tmp_path / path / "1.npy", np.random.default_rng(0).random((40, 3)))

    add("cad/train/bed")
    add("scan/train")
    config = choose(tiny_config(), "data", "folder")
    config.data.update({"root": str(tmp_path), "source": "scan", "target": "cad"})
    with pytest.raises(ValueError, match=r"Domain 'scan': a source needs a class for every training cloud"):
        load_domains(config)
    config.data.update({"source": "cad", "target": "scan"})
    with pytest.raises(ValueError, match=r"'cad': the val split is empty \(too few training objects to set"):
        load_domains(config)
    add("cad/val/bed")
    source, target = load_domains(config)  # no labels in the target, and no test split in either
    assert target.classes == ("bed",) and target.train.label.tolist() == [-1]
    assert list(splits_of(source, target)) == ["source_val"]
    config.select_by = "oracle"
    with pytest.raises(ValueError, match=r"'oracle' needs labelled test clouds, and domain 'scan' has none"):
        load_domains(config)
