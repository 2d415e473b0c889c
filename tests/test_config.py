import json
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from smdsb_jax import choose, default_config, resolve
from smdsb_jax.config import (
    CHOICES,
    RANGES,
    flatten,
    modernize,
    parse_arg,
    recorded_validators,
    trajectory_differences,
)
from smdsb_jax.defaults import SECTIONS
from smdsb_jax.flags import load_config
from smdsb_jax.pretext import PRETEXT, Pretext
from smdsb_jax.statistics import STATISTICS
from tests.tiny_run import tiny_config, tiny_segmentation


def changed(entries=(), **values):
    config = default_config()
    for section, name in entries:
        choose(config, section, name)
    for path, value in values.items():
        *sections, name = path.split("__")
        section = config
        for s in sections:
            section = section[s]
        section[name] = value
    return config


def test_arguments_are_typed_by_their_defaults():
    a = parse_arg("m2r,steps=7,rate=1,deep=true", direction="m2s", steps=1, rate=0.5, deep=False)
    assert (a.direction, a.steps, a.rate, a.deep) == ("m2r", 7, 1.0, True)
    assert parse_arg("", direction="m2s").direction == "m2s"
    assert parse_arg("direction=s2m", direction="m2s").direction == "s2m"


@pytest.mark.parametrize(
    "arg, words",
    [
        ("m2s,encoder", "give option=value"),
        ("m2s,encoderr=x", "'encoderr' is not known. Did you mean 'encoder'?"),
        ("m2s,steps=many", "steps = 'many': give a int"),
        ("m2s,deep=maybe", "give true or false"),
    ],
)
def test_wrong_arguments_say_what_is_right(arg, words):
    with pytest.raises(ValueError) as error:
        parse_arg(arg, direction="m2s", encoder="dgcnn", steps=1, deep=False)
    assert words in str(error.value)


def test_the_home_folder_in_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = choose(default_config(), "data", "folder")
    config.data.root, config.data.cache, config.init_from = "~/clouds", "~/fast", "~/runs/x"
    resolved = resolve(config)
    assert (resolved.data.root, resolved.data.cache) == (f"{tmp_path}/clouds", f"{tmp_path}/fast")
    assert resolved.init_from == f"{tmp_path}/runs/x" and config.data.root == "~/clouds"


def test_resolve_fills_in_what_belongs_to_the_statistic_and_copies():
    config = default_config()
    resolved = resolve(config)
    assert resolved.selection.side == "low" and resolved.selection.target_shift == (0.1, 0.1)
    assert config.selection.side == ""
    assert resolve(changed(selection__statistic="random")).selection.target_shift == (0.0, 0.0)
    explicit = changed(selection__side="high", selection__target_shift=(0.0, 0.5))
    assert resolve(explicit).selection.side == "high" and resolve(explicit).selection.target_shift == (
        0.0,
        0.5,
    )


def test_fields_by_dotted_name():
    nested = {"seed": 0, "a": {"b": {"c": (1, 2)}, "d": "x"}}
    expected = {"seed": 0, "a.b.c": (1, 2), "a.d": "x"}
    assert flatten(nested) == flatten(ConfigDict(nested)) == expected


def test_every_checked_field_exists():
    assert set(CHOICES) | set(RANGES) <= set(flatten(default_config()))


@pytest.mark.parametrize("field", CHOICES)
def test_every_choice_is_checked(field):
    with pytest.raises(ValueError, match=rf"config\.{field} = 'nonsense': one of"):
        resolve(changed(**{field.replace(".", "__"): "nonsense"}))


@pytest.mark.parametrize("field", RANGES)
def test_every_range_is_checked(field):
    low = RANGES[field][0]
    kind = type(flatten(default_config())[field])
    with pytest.raises(ValueError, match=rf"config\.{field} = .*: between"):
        resolve(changed(**{field.replace(".", "__"): kind(low - 1)}))
    with pytest.raises(ValueError, match=rf"config\.{field} = .*: between"):
        resolve(changed(**{field.replace(".", "__"): kind(2**40)}))


@pytest.mark.parametrize(
    "values, words",
    [
        ({"stages": (2, 1)}, r"config.stages = \(2, 1\)"),
        ({"stages": (2,)}, "needs config.init_from"),
        ({"batch_size": 7}, "give an even number"),
        ({"batch_size": 2}, "BatchNorm needs at least 2"),
        ({"batch_size": 12}, "cannot be divided over 4 devices"),
        ({"accumulate": 3}, "gives 32 clouds per domain; give a divisor"),
        ({"accumulate": 32}, "leaves 2 clouds at least"),
        ({"accumulate": 16}, "in 16 parts cannot be divided over 4 devices. Give a multiple of 64"),
        (
            {"accumulate": 4, "selection__execution": "gather", "selection__scope": "per_domain"},
            "accumulate = 4: .* keeps 22 clouds by config.selection.keep_ratio = 0.7",
        ),
        ({"classification__mixup": "pcm", "saliency__mode": "shared"}, "Use per_sample"),
        ({"selection__execution": "gather"}, "selection.scope = 'per_domain'"),
        ({"selection__target_shift": (0.1,)}, "target_shift"),
        ({"selection__target_shift": (0.1, -1.0)}, "cannot be negative"),
        ({"data__points": 10}, "config.encoder.k = 20 neighbors"),
        ({"selection__statistic": "skewnes"}, "Did you mean 'skewness'"),
        ({"encoder__name": "pointnet"}, "Choose it in the config file's argument"),
        ({"data__name": "pointda"}, "Choose it with the config file of that data set"),
        ({"data__target": "catalog"}, "are both 'catalog': give two domains, or method=oracle"),
        ({"augment__scale": (1.5, 0.7)}, "two factors above 0"),
        ({"selection__freeze_unlabelled": True}, "set config.selection.scope = 'per_domain'"),
        ({"classification__weight": 0.0, "saliency__mode": "shared"}, "leaves no gradient.*Use per_sample"),
        (
            {"pseudo_labels__threshold": 0.9, "saliency__mode": "shared"},
            "that config.pseudo_labels leaves out",
        ),
    ],
)
def test_impossible_combinations_say_what_to_change(values, words):
    with pytest.raises(ValueError, match=words):
        resolve(changed(**values))


def test_joint_losses_are_not_accumulated():
    config = changed(accumulate=2)
    with pytest.raises(ValueError, match=r"accumulate = 2: the joint losses of .* 'pointdan' are no sums"):
        resolve(choose(config, "pretext", "pointdan"))


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("pseudo_labels.threshold", 1.5, "between 0 and 1"),
        ("pretext.dropout", 1.0, "between 0 and 0.99"),
        ("pretext.min_share", -0.1, "between 0 and"),
        ("pretext.noise_variance", -0.001, "between 0 and"),
        ("pretext.scale", -1.0, "between 0 and"),
        ("pretext.scale", float("inf"), "give a finite number"),
        ("pretext.weight", float("inf"), "give a finite number"),
        ("classification.weight", float("nan"), "give a finite number"),
        ("encoder.k", 0, "at least 1"),
        ("encoder.embedding", 2, "at least 16"),
        ("encoder.layers", (), "one or more numbers of at least 1"),
        ("encoder.layers", (8, 0), "one or more numbers of at least 1"),
        ("encoder.layers", (8, "a"), "each member a whole number"),
        ("encoder.layers", (10**9, 32), "at most 1048576"),
        ("encoder.embedding", 2**63, "between -2147483647 and 2147483647"),
        ("optimizer.learning_rate", 1e300, r"between -3.4e\+38 and 3.4e\+38"),
        ("selection.target_shift", (float("nan"), 0.1), "each member a finite number"),
        ("selection.target_shift", (0.1, "a"), "each member a finite number"),
        ("seed", None, "give a whole number"),
        ("data.root", None, "give text"),
    ],
)
def test_impossible_values_of_any_field_are_refused(field, value, words):
    with pytest.raises(ValueError, match=re.escape(f"config.{field} = {value!r}: ") + f".*{words}"):
        resolve(changed(**{field.replace(".", "__"): value}))


def task(*, sides: int = 4, order=None) -> Pretext:
    if sides % 2:
        raise ValueError(f"config.pretext.sides = {sides}: give an even number.")
    return PRETEXT["none"]()


def test_a_users_own_entry_refuses_what_is_impossible_for_it():
    own = [("pretext", f"{__name__}:task")]
    assert resolve(changed(own, pretext__sides=6, pretext__order="any")).pretext.sides == 6
    with pytest.raises(ValueError, match=r"config\.pretext\.sides = 3: give an even number\."):
        resolve(changed(own, pretext__sides=3))
    with pytest.raises(ValueError, match=r"config\.pretext\.radius = -0\.1: between 0 and 2"):
        resolve(changed([("pretext", "defrec_radius")], pretext__radius=-0.1))


@pytest.mark.parametrize("name", [name for name in PRETEXT if PRETEXT[name]().joint is not None])
def test_a_loss_of_both_domains_needs_the_source(name):
    assert resolve(changed([("pretext", name)])).pretext.on_source
    with pytest.raises(ValueError) as error:
        resolve(changed([("pretext", name)], pretext__on_source=False))
    assert str(error.value) == (
        f"config.pretext.on_source = False: {name!r} compares both domains. Set it to True."
    )


@pytest.mark.parametrize(
    "section, name, other",
    [("selection", name, "skewness") for name in STATISTICS if STATISTICS[name].per_cloud]
    + [("pseudo_labels", name, "max_confidence") for name in ("graph", "voted")]
    + [("pretext", "pcfea", "defrec_radius")],
)
def test_what_needs_one_label_per_cloud_is_refused_where_points_have_them(section, name, other):
    own = [] if section == "selection" else [(section, name)]
    fields = {"selection__statistic": name} if section == "selection" else {}
    with pytest.raises(ValueError) as error:
        resolve(changed([("task", "segmentation"), *own], **fields))
    field = "statistic" if section == "selection" else "name"
    assert str(error.value) == (
        f"config.{section}.{field} = {name!r} needs one label per cloud; with config.task.name = "
        f"'segmentation' each point has one. Take another, as {other}."
    )
    assert resolve(changed(own, **fields))
    if section == "pseudo_labels":  # which stage 1 does not have
        assert resolve(changed([("task", "segmentation"), *own], stages=(1,)))


def test_a_statistic_of_pretext_losses_is_refused_where_samples_have_none():
    of = {"selection__statistic": "pretext_loss"}
    for sections, fields, remedy in (
        ([("pretext", "dfan")], {}, "config.pretext.name = 'dfan' has none. Take another."),
        ([], {"pretext__on_source": False}, "set config.pretext.on_source = True, or the source has none."),
    ):
        with pytest.raises(ValueError) as error:
            resolve(changed(sections, **of, **fields))
        begin = "config.selection.statistic = 'pretext_loss' needs pretext losses of single samples: "
        assert str(error.value) == begin + remedy
    assert resolve(changed([], **of)).selection.side == "low"


def test_what_is_not_an_entry_is_refused_without_a_call(tmp_path):
    config, marker = default_config(), tmp_path / "called"
    config.combine = ConfigDict({"name": "os:system", "command": f"touch {marker}"})
    config.encoder = ConfigDict({"name": "subprocess:getoutput", "cmd": f"touch {marker}"})
    with pytest.raises(ValueError, match="'os:system' is a builtin_function_or_method; it must be a"):
        resolve(config)
    assert not marker.exists()


@pytest.mark.parametrize(
    "field, name",
    [(s, n) for s, known in SECTIONS.items() if s != "data" for n in known]
    + [("pretext", f"{__name__}:task")],
)
def test_the_advised_argument_chooses_the_entry(field, name):
    config = default_config()
    config[field] = ConfigDict({"name": name, "nonsense": 1})
    with pytest.raises(ValueError, match="nonsense") as error:
        resolve(config)
    advised = re.search(r"as in (\S+), or with", str(error.value)).group(1)
    assert resolve(load_config(advised))[field].name == name


def test_a_run_to_start_from_must_be_there(tmp_path):
    assert resolve(changed(stages=(2,), init_from=str(tmp_path))).init_from == str(tmp_path)


def test_several_problems_are_told_at_once():
    with pytest.raises(ValueError) as error:
        resolve(changed(selection__keep_ratio=0.0, saliency__mode="both"))
    assert "keep_ratio" in str(error.value) and "saliency.mode" in str(error.value)


def test_missing_and_unknown_fields():
    config = default_config()
    del config["seed"]
    config.sed = 3
    with pytest.raises(ValueError) as error:
        resolve(config)
    assert "config.seed is missing" in str(error.value)
    assert "config.sed is not known. Did you mean 'seed'?" in str(error.value)
    with pytest.raises(ValueError, match="config.encoder"):
        resolve(ConfigDict({"seed": 1}))


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("encoder", 5, "config.encoder = 5: it is a section; give fields, as config.encoder.embedding"),
        ("stage1", None, "config.stage1 = None: it is a section; give fields, as config.stage1.steps"),
        ("encodr", ConfigDict(), "config.encodr is not known. Did you mean 'encoder'?"),
    ],
)
def test_what_is_no_section_is_refused(name, value, words):
    config = ConfigDict(dict(default_config()) | {name: value})
    with pytest.raises(ValueError) as error:
        resolve(config)
    assert str(error.value).startswith(words)


EARLIER = Path(__file__).with_name(
    "earlier_config.json"
)  # of a run of GAST, before several fields were there


def earlier():
    found = json.loads(EARLIER.read_text())
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def test_the_configuration_of_an_earlier_revision_is_that_of_the_same_run_now():
    saved = earlier()
    assert "pretext.min_points" in saved and "select_by" not in saved and "combine.split" not in saved
    found = modernize(saved)
    wide = tiny_config(
        "gast", encoder__layers=(8, 8, 8, 8), validators__names=default_config().validators.names
    )
    assert found["pretext"]["min_share"] == 3 / 32 and "min_points" not in found["pretext"]
    assert trajectory_differences(found, resolve(wide), stage=2) == []
    assert resolve(ConfigDict(found)).to_dict() == resolve(wide).to_dict()
    assert modernize(found) == found


def test_what_is_no_field_any_more_is_kept_and_a_users_own_section_is_left_alone():
    saved = earlier() | {"encoder.name": "absent_module:Encoder", "encoder.width": 3, "gone": 1}
    found = modernize(saved)
    assert found["encoder"] == {k.partition(".")[2]: v for k, v in saved.items() if k.startswith("encoder.")}
    assert "config.gone: 1 -> None" in trajectory_differences(found, resolve(tiny_config("gast")), stage=2)


def test_what_may_differ_on_resuming_and_what_may_not():
    saved = resolve(default_config()).to_dict()
    free = changed(log_every=7, eval_every=9, data__root="/elsewhere", stage1__steps=50_000, stage2__steps=1)
    assert trajectory_differences(saved, resolve(free), stage=1) == []
    other = changed(seed=1, optimizer__learning_rate=1e-4, stage1__steps=1)
    lines = trajectory_differences(saved, resolve(other), stage=2)
    assert [line.split(":")[0] for line in lines] == [
        "config.optimizer.learning_rate", "config.seed", "config.stage1.steps",
    ]  # fmt: skip
    renamed = resolve(choose(default_config(), "encoder", "pointnet"))
    assert any(
        "encoder.name: 'dgcnn' -> 'pointnet'" in line for line in trajectory_differences(saved, renamed, 1)
    )


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"validators__names": ("sdn",)}, "config.validators.names = 'sdn' is not known. Did you mean 'snd'"),
        ({"validators__names": ("snd", "snd")}, "each needs a name of its own, none of last, source_val"),
        ({"validators__names": ("snd", "smdsb_jax.validators.snd:snd")}, "each needs a name of its own"),
        ({"validators__clouds": 1}, "config.validators.clouds = 1: give at least 2, or 0 to record none."),
        ({"validators__clouds": -1}, "config.validators.clouds = -1: between 0 and"),
        ({"select_by": "class_ami"}, "config.select_by = 'class_ami': one of last, source_val, oracle, ent"),
        ({"select_by": "snd", "validators__clouds": 0}, "'snd': one of last, source_val, oracle; a valid"),
        ({"select_by": "snd", "validators__names": ()}, "'snd': one of last, source_val, oracle; a valid"),
    ],
)
def test_a_validator_that_is_not_there_or_not_recorded_is_refused(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        resolve(changed(**fields))
    assert "\n" not in str(error.value)


def test_a_recorded_validator_and_ones_own_may_choose():
    own = "smdsb_jax.validators.dev:devn"
    config = resolve(changed(select_by="devn", validators__names=["snd", own]))
    assert config.validators.names == ("snd", own) and recorded_validators(config) == {
        "snd": "snd",
        "devn": own,
    }


def test_labels_of_points_have_the_default_validators_and_refuse_those_of_clouds():
    assert resolve(tiny_segmentation()).validators.clouds == 16
    message = "config.validators.names: 'class_ami' needs one label per cloud"
    with pytest.raises(ValueError, match=message):
        resolve(tiny_segmentation(validators__names=("snd", "class_ami")))


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda c: c["task"].update(name=len),
            "config.task.name = <built-in function len>: give text.",
        ),
        (lambda c: c["encoder"].update(name=5), "config.encoder.name = 5: give text."),
        (lambda c: c["data"].update(source={}), "config.data.source = {}: give text"),
        (lambda c: c["data"].update(source={"a": 1}), "give text."),
        (lambda c: c.update(seed={"a": 1}), "config.seed = {'a': 1}: it is a field, not a section."),
        (lambda c: c["optimizer"].update(more={}), "config.optimizer.more is not known."),
        (lambda c: c.update(more={}), "config.more is not known."),
        (lambda c: c.update(more={"a": 1, "b": {"c": 2}}), "config.more is not known."),
        (lambda c: c.update({"a\nb": 1}), r"config.a\nb is not known."),
        (
            lambda c: c.update(optimizer={}),
            "config.optimizer: optimizer.learning_rate, optimizer.name, optimizer",
        ),
        (lambda c: c["stage1"].pop("steps"), "config.stage1.steps is missing."),
        (lambda c: c["data"].update(root="a\nb"), r"config.data.root = 'a\nb': give text without control"),
        (
            lambda c: c["data"].update(root="\udc80"),
            r"config.data.root = '\udc80': give text without control",
        ),
        (lambda c: c["encoder"].update(layers=(1.5,) * 5000), "…: give a tuple, each member a whole number."),
        (lambda c: c["saliency"].update(alpha=10**400), "config.saliency.alpha = 1000"),
        (lambda c: c["selection"].update(statistic=":x"), "config.selection.statistic = ':x' cannot be imp"),
        (lambda c: c["selection"].update(statistic=".x:y"), "config.selection.statistic = '.x:y' cannot be"),
        (lambda c: c.update(batch_size=0), "config.batch_size = 0: between"),
        (lambda c: c.update(batch_size=5), "config.batch_size = 5 is the total over both domains"),
        (lambda c: c.update(eval_batch_size=2**20), "config.eval_batch_size = 1048576: so many clouds of"),
        (
            lambda c: c["validators"].update(names=("x", "x")),
            "config.validators.names = ('x', 'x'): each needs",
        ),
    ],
)
def test_one_mistake_is_one_line_however_odd(change, said):
    config = default_config().to_dict()
    change(config)
    with pytest.raises(ValueError) as error:
        resolve(ConfigDict(config))
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1, str(error.value)
    assert len(str(error.value)) < 1500
