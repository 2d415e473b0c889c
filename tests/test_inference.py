import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial
from ml_collections import ConfigDict

import smdsb_jax
from smdsb_jax import choose, inference, resolve
from smdsb_jax.augment import subsample
from smdsb_jax.datasets import embedded
from smdsb_jax.datasets.domain import UNLABELLED, normalize
from smdsb_jax.network import predict
from smdsb_jax.report.summary import judge, write_summary
from smdsb_jax.run import evaluation
from smdsb_jax.run.evaluation import eval_program, jit_eval_step, predict_split
from smdsb_jax.saliency import saliency
from smdsb_jax.statistics import Statistic
from smdsb_jax.statistics.skewness import skewness
from smdsb_jax.tasks import cross_entropy
from tests.untrained_run import save_untrained


@pytest.fixture(scope="module")
def model(tiny_run):
    return smdsb_jax.load(tiny_run)


@pytest.fixture(scope="module")
def split():
    test = embedded.load("", "scan", points=32).test
    return test._replace(points=test.points[:6], label=test.label[:6])


def test_load_takes_the_checkpoint_that_is_asked_for(tiny_run, model):
    assert (model.stage, model.step) == (2, 6) and len(model.classes) == 7
    assert model.config.encoder.layers == (8, 8)
    first = smdsb_jax.load(tiny_run, "last", stage=1)
    assert (first.stage, first.step) == (1, 6)
    numbered = smdsb_jax.load(tiny_run, "12")
    assert (numbered.stage, numbered.step) == (2, 6)
    for selection in ("source_val", "oracle"):
        assert smdsb_jax.load(tiny_run, selection, 1).step in (3, 6)
    kernels = [m.variables["params"]["encoder"]["conv1"]["dense"]["kernel"] for m in (model, numbered, first)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


@pytest.mark.parametrize(
    "selection, words",
    [("99", r"no checkpoint of step 99\. There are: .*12"), ("best", "'best' is not known: one of last")],
)
def test_what_a_run_lacks_is_refused(tiny_run, selection, words):
    with pytest.raises(ValueError, match=words):
        smdsb_jax.load(tiny_run, selection)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not the workdir of a run"):
        smdsb_jax.load(tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_predict_refuses_what_is_not_finite_and_names_the_cloud(model, split):
    clouds = np.array(split.points)
    clouds[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match="^cloud 3: 1 of 1024 points is NaN"):
        smdsb_jax.predict(model, clouds)


@pytest.mark.parametrize(
    "clouds, words",
    [
        (np.zeros((1, 3, 512)), r"cloud 0: shape \(3, 512\) looks transposed"),
        (np.zeros((2, 512)), r"cloud 0: shape \(2, 512\) looks transposed"),
        (
            [np.ones((9, 3)), np.ones(9)],
            r"cloud 1: shape \(9,\), not \(points, 3 or more columns\)\. Give",
        ),
        ([np.ones((9, 3)), np.ones((0, 3))], "cloud 1: holds no points"),
        ([["a", "b", "c"]], "cloud 0: holds <U1, not numbers"),
        ("absent.npy", r"absent\.npy: no such file"),
        (["notes.md"], r"notes\.md: the suffix \.md is none of \.npy"),
    ],
)
def test_what_is_no_cloud_is_told_in_one_line(model, clouds, words):
    with pytest.raises(ValueError, match=words) as told:
        smdsb_jax.predict(model, clouds)
    assert "\n" not in str(told.value)


def test_one_cloud_a_batch_a_list_and_files_are_the_same(model, split, tmp_path):
    batch = smdsb_jax.predict(model, split.points)
    colored = np.concatenate([split.points[2], np.full((1024, 3), 7)], axis=1)  # further columns do not count
    np.save(tmp_path / "one.NPY.npy", colored * 30 + [4.5e5, 5.4e6, 100, 0, 0, 0])  # map coordinates
    for one in (split.points[2], colored, str(tmp_path / "one.NPY.npy")):
        found = smdsb_jax.predict(model, one)
        assert found.shape == (7,)
        np.testing.assert_allclose(found, batch[2], rtol=1e-3, atol=1e-5)
    # sizes that the network gets after other fillings
    ragged = [split.points[0, :20], tmp_path / "one.NPY.npy", split.points[1, :700], split.points[0]]
    found = smdsb_jax.predict(model, ragged)
    np.testing.assert_allclose(found[1], batch[2], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found[3], batch[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], smdsb_jax.predict(model, ragged[2]), rtol=1e-5)
    assert smdsb_jax.predict(model, np.zeros((0, 512, 3))).shape == (0, 7)


def test_predict_gives_probabilities_in_any_unit_and_place(model, split):
    clouds = split.points[:, :32]
    found = smdsb_jax.predict(model, clouds)
    assert found.shape == (6, 7) and (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    moved = smdsb_jax.predict(model, 250 * clouds + np.float32([3, -2, 1]))
    np.testing.assert_allclose(moved, found, rtol=1e-3, atol=1e-5)
    assert len(np.unique(found, axis=0)) == 6


def test_the_answer_of_a_cloud_depends_on_the_cloud_alone_and_compiles_once(model, split):
    found = smdsb_jax.predict(model, split.points)  # 1,024 points, of which the network gets 32
    before = eval_program(model.network, model.config)._cache_size()
    np.testing.assert_allclose(smdsb_jax.predict(model, split.points[::-1])[::-1], found, rtol=1e-5)
    copies = smdsb_jax.predict(model, np.repeat(split.points[:1], 40, axis=0))
    np.testing.assert_allclose(copies, np.repeat(found[:1], 40, axis=0), rtol=1e-5)
    np.testing.assert_allclose(smdsb_jax.predict(model, split.points[:1])[0], found[0], rtol=1e-5)
    smdsb_jax.predict(model, [split.points[0][:100], split.points[1][:700], split.points[2][:32]])
    assert eval_program(model.network, model.config)._cache_size() == before


def test_a_cloud_with_fewer_points_than_the_network_wants_is_classified(model, split):
    few = split.points[:, :8]
    # every point four times: the maximum over points is that of the eight
    np.testing.assert_allclose(
        smdsb_jax.predict(model, few), smdsb_jax.predict(model, np.tile(few, (1, 4, 1))), rtol=1e-5
    )


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def test_samples_hold_the_saliency_of_each_clouds_own_loss(model, split):
    found = smdsb_jax.samples(model, split.points, split.label)
    points = evaluated(split.points)

    def summed(points):
        logits, _, _ = predict(model.network, model.variables, points)
        return jnp.sum(cross_entropy(logits, jnp.asarray(split.label)))

    gradient = jax.jit(jax.grad(summed))(jnp.asarray(points))
    expected = jax.vmap(lambda p, g: saliency(p, g, 1.0))(jnp.asarray(points), gradient)
    np.testing.assert_array_equal(found.points, points)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.saliency, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(found.saliency).max() > 1e-4 and found.embedding.shape == (6, 16)
    np.testing.assert_array_equal(found.label, split.label)


def at(sample, rows):
    return jax.tree.map(lambda leaf: leaf[np.asarray(rows)], sample)


def assert_same(found, expected, **tolerance):
    """Whether samples are equal but for their keys."""
    leaves = (jax.tree.leaves(of._replace(key=0)) for of in (found, expected))
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_allclose(one, other, **{"rtol": 1e-3, "atol": 1e-5} | tolerance)


def test_samples_of_raw_clouds_are_those_of_the_prepared_ones(model, split, tmp_path):
    expected = smdsb_jax.samples(model, split.points, split.label)
    assert np.abs(expected.logits).max() < 50
    colored = np.concatenate([split.points, np.full((6, 1024, 3), 7)], axis=2)
    colored = colored * 30 + [4.5e5, 5.4e6, 100, 0, 0, 0]
    assert_same(smdsb_jax.samples(model, colored, split.label), expected)
    lying = np.stack([colored[..., 0], colored[..., 2], -colored[..., 1]], axis=-1)  # y is up
    assert_same(smdsb_jax.samples(model, lying, split.label, y_up=True), expected)
    np.save(tmp_path / "2.npy", colored[2])
    ragged = [split.points[0], split.points[1, :20], tmp_path / "2.npy", split.points[3, :700]]
    found = smdsb_jax.samples(model, ragged, split.label[:4])
    assert_same(at(found, [0, 2]), at(expected, [0, 2]))
    assert found.points.shape == (4, 32, 3) and len(set(found.points[1, :, 0].tolist())) == 20
    one = smdsb_jax.samples(model, str(tmp_path / "2.npy"), split.label[2])
    assert_same(one, at(expected, 2))
    assert one.loss.shape == () and skewness(one) == pytest.approx(float(skewness(at(found, 2))))


def test_without_a_label_samples_have_the_predicted_one(model, split):
    predicted = smdsb_jax.predict(model, split.points).argmax(axis=1)
    assert (predicted != split.label).any()
    expected = smdsb_jax.samples(model, split.points, predicted)
    assert_same(smdsb_jax.samples(model, split.points), expected, rtol=0, atol=0)
    some = np.where(np.arange(6) < 3, split.label, -1)
    found = smdsb_jax.samples(model, split.points, some)
    np.testing.assert_array_equal(found.label, np.where(np.arange(6) < 3, split.label, predicted))


def test_a_sample_depends_on_its_cloud_alone_and_has_a_key_of_its_own(model, split):
    many = np.repeat(split.points, 7, axis=0)  # three parts
    found = smdsb_jax.samples(model, many, seed=3)
    few = smdsb_jax.samples(model, split.points)
    assert_same(at(found, np.arange(0, 42, 7)), few, rtol=1e-5)
    drawn = jax.random.key_data(found.key)
    np.testing.assert_array_equal(drawn, jax.random.key_data(keys(42, 3)))


@pytest.mark.parametrize(
    "clouds, label, words",
    [
        ([], None, "samples: there are no clouds"),
        (np.ones((2, 9, 3)), [0], "2 clouds have 1 labels"),
        (np.ones((2, 9, 3)), [0, 7], r"cloud 1: label 7 is no class\. 0 to 6 are"),
        (np.ones((9, 3)), [0], "cloud 0: 1 labels of 9 points"),
    ],
)
def test_what_has_no_sample_is_told_in_one_line(model, clouds, label, words):
    with pytest.raises(ValueError, match=words) as told:
        smdsb_jax.samples(model, clouds, label)
    assert "\n" not in str(told.value)


def test_a_file_of_several_clouds_is_a_batch_and_no_part_of_a_list(model, split, tmp_path):
    np.save(tmp_path / "many.npy", 9 * split.points[:3] + 1)
    np.save(tmp_path / "one.npy", split.points[:1])
    expected = smdsb_jax.predict(model, split.points[:3])
    found = smdsb_jax.predict(model, tmp_path / "many.npy")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(smdsb_jax.predict(model, tmp_path / "one.npy"), expected[0], rtol=1e-5)
    with pytest.raises(ValueError, match="many.npy: holds 3 clouds") as told:
        smdsb_jax.predict(model, [split.points[0], tmp_path / "many.npy"])
    assert "\n" not in str(told.value)


def test_what_has_y_up_is_turned(model, split):
    lying = np.stack([split.points[..., 0], split.points[..., 2], -split.points[..., 1]], axis=-1)
    expected = smdsb_jax.predict(model, split.points)
    np.testing.assert_allclose(smdsb_jax.predict(model, lying, y_up=True), expected, rtol=1e-3, atol=1e-5)
    assert np.abs(smdsb_jax.predict(model, lying) - expected).max() > 1e-3


def test_the_home_folder_may_be_written_with_a_tilde(tiny_run, model, split, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_run.parent))
    assert smdsb_jax.load(f"~/{tiny_run.name}").step == model.step
    with pytest.raises(ValueError, match=f"{tiny_run.parent}/absent.npy: no such file"):
        smdsb_jax.predict(model, "~/absent.npy")


def stored_labels(model, train):
    """What the network makes of clouds as evaluation sees them."""
    step = jit_eval_step(model.config, len(model.classes))
    return predict_split(step, model.variables, train.points, 64).predictions.logits.argmax(axis=1)


def evaluated(points):
    """The points that an evaluation takes of stored clouds, one by one."""
    take = lambda cloud: subsample(jax.random.key(0), jnp.asarray(cloud), 32, "uniform").points  # noqa: E731
    return np.stack([take(cloud) for cloud in points])


@pytest.mark.parametrize("domain, name", [("source", "catalog"), ("target", "scan"), ("blend", "blend")])
def test_score_is_of_the_training_clouds_of_a_domain_under_the_labels_that_training_has(
    tiny_run, model, domain, name
):
    train = embedded.load("", name, points=32).train
    label = train.label if domain == "source" else stored_labels(model, train)
    few = np.r_[:3, 16:19, len(label) - 3 : len(label)]  # of the first, the second and the last part
    points = evaluated(train.points[few])
    expected = inference.measure(model, points, label[few].astype(np.int32), keys(len(few)))
    found = smdsb_jax.score(tiny_run, lambda sample: sample.loss, domain)
    assert found.shape == (len(label),)
    np.testing.assert_allclose(found[few], expected.loss, rtol=1e-4)


def test_score_takes_a_run_or_a_model_and_a_name_or_a_function(tiny_run, model, split):
    named = smdsb_jax.score(model, "skewness", split)
    np.testing.assert_array_equal(named, smdsb_jax.score(str(tiny_run), domain=split))
    np.testing.assert_array_equal(named, smdsb_jax.score(model, skewness, split))
    own = smdsb_jax.score(model, lambda sample: jnp.max(sample.saliency), split)
    expected = smdsb_jax.samples(model, split.points, split.label).saliency.max(axis=1)
    np.testing.assert_allclose(own, expected, rtol=1e-5)
    first = smdsb_jax.load(tiny_run, stage=1)
    assert not np.allclose(smdsb_jax.score(first, "loss", split), smdsb_jax.score(model, "loss", split))


def test_score_of_a_split_does_not_depend_on_its_unit(model, split):
    expected = smdsb_jax.score(model, "loss", split)
    raw = split._replace(points=(250 * split.points.astype(np.float64) + [3e5, -2, 1]))
    np.testing.assert_allclose(smdsb_jax.score(model, "loss", raw), expected, rtol=1e-3)
    again = raw._replace(points=normalize(raw.points))  # the same bits as what score makes of it
    np.testing.assert_array_equal(smdsb_jax.score(model, "loss", raw), smdsb_jax.score(model, "loss", again))


def test_score_of_the_split_of_a_domain_is_that_of_its_name_to_the_bit(model):
    train = embedded.load("", "catalog", points=32).train
    by_name = smdsb_jax.score(model, "skewness", "source")
    np.testing.assert_array_equal(smdsb_jax.score(model, "skewness", train), by_name)


def test_clouds_without_a_label_are_scored_under_the_predicted_one(model, split):
    predicted = smdsb_jax.predict(model, split.points).argmax(axis=1).astype(np.int32)
    some = split._replace(label=np.where(np.arange(6) % 2, UNLABELLED, split.label).astype(np.int32))
    mixed = split._replace(label=np.where(np.arange(6) % 2, predicted, split.label).astype(np.int32))
    np.testing.assert_array_equal(smdsb_jax.score(model, "loss", some), smdsb_jax.score(model, "loss", mixed))


def test_pretext_losses_are_there_when_they_are_asked_for(model, split):
    of = smdsb_jax.samples(model, split.points, split.label, pretext=True)
    assert of.pretext_loss.shape == (6,) and (np.asarray(of.pretext_loss) > 0).all()
    plain = smdsb_jax.samples(model, split.points, split.label)
    assert plain.pretext_loss is None
    np.testing.assert_array_equal(of.loss, plain.loss)
    gap = Statistic(lambda s: s.pretext_loss - s.loss, needs_pretext=True)
    scores = inference.apply_statistic(model, gap, of)
    np.testing.assert_allclose(scores, of.pretext_loss - of.loss, rtol=1e-5)
    assert smdsb_jax.score(model, "pretext_loss", split).shape == (6,)
    with pytest.raises(
        ValueError, match=r"statistic pretext_loss needs pretext losses: take samples\(…, pret"
    ):
        inference.apply_statistic(model, "pretext_loss", plain)


@pytest.mark.parametrize(
    "pretext, words",
    [("none", "'none' of stage 1 has no loss"), ("self_distillation", "remembers more than its network")],
)
def test_pretext_losses_that_a_loaded_run_cannot_have_are_refused(model, split, pretext, words):
    other = model._replace(config=resolve(choose(model.config, "pretext", pretext)), stage=1)
    with pytest.raises(ValueError, match=words) as told:
        smdsb_jax.samples(other, split.points, pretext=True)
    assert "\n" not in str(told.value)


def test_random_scores_do_not_repeat_in_the_next_part(model):
    scores = smdsb_jax.score(model, "random", "source")
    assert len(np.unique(scores)) > 0.99 * len(scores)


def raises(sample):
    raise IndexError("no\nsuch entry")


@pytest.mark.parametrize(
    "statistic, domain, words",
    [
        ("skewnes", "target", "Did you mean 'skewness'"),
        ("absent_module:f", "target", "'absent_module:f' cannot be imported"),
        (
            raises,
            "source",
            "The statistic raises raises IndexError: no .It gets one .*Sample and returns one float",
        ),
        (lambda s: jnp.sqrt(-1 - s.loss), "target", r"returns NaN for .* of scan .target. .first: sample 0."),
        (
            lambda s: jnp.log(0 * s.loss),
            "source",
            "returns infinity for 16 of 16 samples of catalog .source.",
        ),
        (lambda s: s.label, "source", r"returns int32\[\] for one sample; return one float"),
        ("loss", "scann", "Did you mean 'scan'"),
    ],
)
def test_what_cannot_be_scored_is_told_in_one_line(model, statistic, domain, words):
    with pytest.raises(ValueError, match=words) as told:
        smdsb_jax.score(model, statistic, domain)
    assert "\n" not in str(told.value)


def test_a_domain_with_further_classes_than_the_run_is_refused(model):
    fewer = model._replace(classes=model.classes[:-1])
    with pytest.raises(
        ValueError, match=r"'blend' has classes that the source lacks: table \(it has bed, .*sofa\)\."
    ) as told:
        smdsb_jax.score(fewer, "loss", "blend")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_model_is_used_at_the_precision_of_its_run(model, split, monkeypatch, precision):
    seen = []

    def predict_and_note(*args, **kwargs):
        seen.append(jax.config.values["jax_default_matmul_precision"])
        return predict(*args, **kwargs)

    for module in ("network", "run.evaluation"):
        monkeypatch.setattr(f"smdsb_jax.{module}.predict", predict_and_note)
    config = ConfigDict(model.config.to_dict())
    config.matmul_precision = precision
    model, points = model._replace(config=config), split.points[:, :32]
    uses = [
        lambda: smdsb_jax.predict(model, points),
        lambda: smdsb_jax.samples(model, points, split.label),
        lambda: smdsb_jax.score(model, "loss", split._replace(points=points[:5], label=split.label[:5])),
        lambda: judge(model, split),
    ]
    for use in uses:
        inference._compiled.cache_clear()  # what was compiled before would note nothing
        evaluation._eval_program.cache_clear()
        before = len(seen)
        use()
        assert set(seen[before:]) == {precision}

    def matrix_statistic(sample):
        seen.append(jax.config.values["jax_default_matmul_precision"])
        return jnp.sum(sample.points @ sample.points.T)

    smdsb_jax.score(model, matrix_statistic, split)
    assert seen[-1] == precision


# what a stranger's checkpoint could name: functions, and a module that does harm when it is imported
HARM = {
    "encoder": "subprocess:getoutput",
    "pretext": "os:system",
    "combine": "os:abort",
    "data": "harm:load",
    "selection": "harm:statistic",
}


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that is there as soon as the module `harm` is imported."""
    (tmp_path / "harm.py").write_text(f"open({str(tmp_path / 'called')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "called"


@pytest.mark.parametrize("section", HARM)
def test_a_checkpoint_alone_runs_no_code(tmp_path, marker, section):
    workdir = save_untrained(tmp_path / "run", **{section: HARM[section]})
    uses = [
        lambda: smdsb_jax.load(workdir),
        lambda: smdsb_jax.load(workdir, allow=("harm:other", "os:getcwd")),
        lambda: smdsb_jax.score(workdir),
        lambda: write_summary(workdir),
    ]
    for use in uses:
        with pytest.raises(ValueError, match=f"outside the library.*--allow {HARM[section]}") as told:
            use()
        assert str(told.value).startswith(f"{workdir}: ") and "\n" not in str(told.value)
    assert not marker.exists()


def test_what_is_allowed_is_still_not_called_unless_it_is_an_encoder(tmp_path):
    workdir = save_untrained(tmp_path / "run", encoder="subprocess:getoutput")
    with pytest.raises(ValueError, match="is a function; it must be a class derived from flax.linen"):
        smdsb_jax.load(workdir, allow=("subprocess:getoutput",))


OWN = """
from smdsb_jax.combine import COMBINE, Combine
from smdsb_jax.encoders import ENCODERS
from smdsb_jax.pretext import PRETEXT, Pretext


class Encoder(ENCODERS["pointnet"]):
    pass


def task(**options) -> Pretext:
    return PRETEXT["defrec"](**options)


def rule() -> Combine:
    return COMBINE["sum"]()


def size(sample):
    return sample.saliency.max()
"""


def test_a_users_own_parts_work_for_the_user_who_names_them_again(tmp_path, monkeypatch, split):
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = {"encoder": "Encoder", "pretext": "task", "combine": "rule", "selection": "size"}
    own = {section: f"own_parts:{name}" for section, name in own.items()}
    workdir = save_untrained(tmp_path / "run", **own)
    plain = smdsb_jax.load(save_untrained(tmp_path / "plain"))
    with pytest.raises(ValueError, match="config.pretext.name = 'own_parts:task', config.selection.stat"):
        smdsb_jax.load(workdir, allow=(own["encoder"], own["combine"]))
    found = smdsb_jax.load(workdir, allow=own.values())
    np.testing.assert_array_equal(*(smdsb_jax.predict(m, split.points) for m in (found, plain)))
    others = [name for section, name in own.items() if section != "selection"]
    scores = smdsb_jax.score(workdir, own["selection"], split, allow=others)  # the statistic is named anyway
    np.testing.assert_array_equal(scores, smdsb_jax.score(plain, own["selection"], split))


def test_every_given_point_has_the_probabilities_of_the_nearest_that_the_network_got(segmented_run):
    model = smdsb_jax.load(segmented_run)
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(n, 3)) * [3, 1, 0.5] + 7 for n in (100, 64, 30)]
    found = smdsb_jax.predict(model, clouds)
    assert [p.shape for p in found] == [(100, 8), (64, 8), (30, 8)]
    np.testing.assert_allclose(smdsb_jax.predict(model, clouds[0]), found[0], atol=1e-6)
    sample = smdsb_jax.samples(model, clouds[0])
    own = normalize(clouds[0].astype(np.float32))
    nearest = scipy.spatial.cKDTree(np.asarray(sample.points)).query(own)[1]
    probability = np.asarray(jax.nn.softmax(sample.logits, axis=-1))
    np.testing.assert_allclose(found[0], probability[nearest], atol=1e-5)
    # without labels those that the network predicts
    np.testing.assert_array_equal(sample.label, probability.argmax(axis=1))
    assert sample.saliency.shape == (64,) and sample.loss.shape == ()


def test_statistics_of_runs_with_labels_of_points(segmented_run):
    model = smdsb_jax.load(segmented_run)
    for domain, clouds in (("source", 70), ("target", 50)):
        assert smdsb_jax.score(model, "skewness", domain).shape == (clouds,)
    with pytest.raises(ValueError, match="The statistic margin is of clouds that have one label each"):
        smdsb_jax.score(model, "margin", "target")
