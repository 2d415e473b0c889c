import numpy as np

from smdsb_jax.datasets.domain import Split
from smdsb_jax.pseudo_labels import PseudoLabels
from smdsb_jax.sampling import SOURCE, TARGET, batch_indices, padded_chunks, sample_batch


def test_an_epoch_is_a_permutation_without_its_incomplete_last_batch():
    for epoch in range(2):
        rows = np.concatenate([batch_indices(0, 1, SOURCE, 3 * epoch + s, 11, 3) for s in range(3)])
        assert len(set(rows.tolist())) == 9 and rows.max() < 11
    first, second = (batch_indices(0, 1, SOURCE, s, 9, 9) for s in (0, 1))
    assert sorted(first) == sorted(second) == list(range(9)) and list(first) != list(second)


def test_the_order_depends_on_seed_stage_domain_and_step_alone():
    def rows(*place):
        return batch_indices(*place, 100, 10).tolist()

    assert rows(3, 1, SOURCE, 7) == rows(3, 1, SOURCE, 7)
    places = [(3, 1, SOURCE, 7), (4, 1, SOURCE, 7), (3, 2, SOURCE, 7), (3, 1, TARGET, 7), (3, 1, SOURCE, 8)]
    assert len({tuple(rows(*p)) for p in places}) == len(places)


def test_the_order_is_the_same_on_every_machine():
    assert batch_indices(0, 1, SOURCE, 0, 100, 5).tolist() == PINNED


PINNED = [6, 69, 97, 15, 79]


def test_a_batch_larger_than_the_domain_has_all_of_it_evenly():
    rows = batch_indices(0, 1, TARGET, 0, 10, 16)
    assert sorted(np.bincount(rows, minlength=10)) == [1] * 4 + [2] * 6
    assert sorted(rows[:10]) == list(range(10))
    assert rows.tolist() != batch_indices(0, 1, TARGET, 1, 10, 16).tolist()
    assert batch_indices(0, 1, TARGET, 3, 1, 4).tolist() == [0] * 4


def split(n, seed):
    rng = np.random.default_rng(seed)
    return Split(rng.normal(size=(n, 8, 3)).astype(np.float32), rng.integers(0, 3, n).astype(np.int32))


def test_the_target_has_pseudo_labels_in_stage_2_and_none_before():
    source, target = split(20, 0), split(30, 1)
    batch = sample_batch(0, 1, 2, 4, source, target, None)
    assert batch.target.label is None and batch.target.weight is None and batch.source.weight is None
    rows = batch_indices(0, 1, SOURCE, 2, 20, 4)
    np.testing.assert_array_equal(batch.source.points, source.points[rows])
    np.testing.assert_array_equal(batch.source.label, source.label[rows])
    labels = PseudoLabels(np.arange(30, dtype=np.int32), np.linspace(0, 1, 30), np.ones(30))
    batch = sample_batch(0, 2, 2, 4, source, target, labels)
    rows = batch_indices(0, 2, TARGET, 2, 30, 4)
    np.testing.assert_array_equal(batch.target.label, rows)  # the pseudo-labels, not the true ones
    np.testing.assert_array_equal(batch.target.weight, labels.weight[rows])
    np.testing.assert_array_equal(batch.target.points, target.points[rows])


def test_only_chosen_clouds_are_drawn_where_a_rule_says_so_and_all_where_none_is_chosen():
    source, target = split(20, 0), split(30, 1)
    for shape in ((30,), (30, 8)):  # of clouds, of points
        weight = np.zeros(shape)
        weight[[3, 7, 8, 20]] = 0.5
        labels = PseudoLabels(np.arange(weight.size).reshape(shape), weight, np.ones(shape))
        drawn = [sample_batch(0, 2, step, 4, source, target, labels, True).target for step in range(3)]
        for clouds in drawn:  # an epoch has four clouds
            rows = {np.flatnonzero((target.points == p).all(axis=(1, 2)))[0] for p in clouds.points}
            assert rows == {3, 7, 8, 20} and (clouds.weight == 0.5).all()
        assert not np.array_equal(drawn[0].points, drawn[1].points)
        none = labels._replace(weight=np.zeros(shape))
        batches = [sample_batch(0, 2, 1, 4, source, target, none, chosen) for chosen in (False, True)]
        np.testing.assert_array_equal(*(batch.target.points for batch in batches))


def test_chunks_cover_everything_once_and_have_one_shape():
    points = split(10, 2).points
    chunks = padded_chunks(points, 4)
    assert [valid for _, valid in chunks] == [4, 4, 2] and {c.shape for c, _ in chunks} == {(4, 8, 3)}
    np.testing.assert_array_equal(np.concatenate([c[:v] for c, v in chunks]), points)
