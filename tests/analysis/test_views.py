import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.analysis import examine
from smdsb_jax.analysis.subject import find_checkpoints, open_subject
from smdsb_jax.analysis.views import augment_all, augment_and_prepare, draw_rows
from smdsb_jax.state import Batch, Clouds


@pytest.fixture(scope="module")
def of_other_seed(other_seed):
    return open_subject(find_checkpoints(other_seed)[0])


def program(subject):
    return jax.jit(functools.partial(augment_and_prepare, subject.parts))


def test_rows_are_those_of_the_data_and_the_given_seed_whatever_the_runs_seed(subjects, of_other_seed):
    rows = draw_rows(subjects[1], 8, 32, seed=3)
    for other in (subjects[2], of_other_seed):
        np.testing.assert_array_equal(rows, draw_rows(other, 8, 32, seed=3))
    assert not np.array_equal(rows, draw_rows(subjects[1], 8, 32, seed=4))


@pytest.mark.parametrize("clouds, batches", [(32, 4), (39, 4), (3, 1), (10**6, 430 // 8)])
def test_mini_batches_are_whole_at_least_one_and_as_many_as_both_domains_have(subjects, clouds, batches):
    assert [len(d.train.label) for d in (subjects[1].source, subjects[1].target)] == [430, 430]
    for rows in draw_rows(subjects[1], 8, clouds, seed=0):
        assert rows.shape == (batches, 8) and len(np.unique(rows)) == rows.size


def test_views_are_the_same_for_checkpoints_that_differ_in_the_runs_seed_only(subjects, of_other_seed):
    rows = draw_rows(subjects[1], 8, 16, seed=0)
    first, other = (augment_all(program(s), s, rows, seed=0) for s in (subjects[1], of_other_seed))
    again = augment_all(program(subjects[1]), subjects[1], rows, seed=1)
    for a, b, c in zip(first, other, again, strict=True):
        np.testing.assert_array_equal(a.points, b.points)
        assert not np.array_equal(a.points, c.points)
    assert not np.array_equal(first[0].points[0], first[1].points[0])


@pytest.mark.parametrize("stage", [1, 2])
def test_a_pretext_task_sees_whether_its_pass_has_labels_and_the_oracle_the_true_ones(subjects, stage):
    subject, views = subjects[stage], []

    def prepare(view, key):
        views.append(view)
        return view.points

    parts = subject.parts._replace(pretext=subject.parts.pretext._replace(prepare=prepare))
    (source,), (target,) = draw_rows(subject, 8, 8, seed=0)
    halves = ((subject.source.train, source), (subject.target.train, target))
    stored = Batch(*(Clouds(jnp.asarray(d.points[r]), jnp.asarray(d.label[r])) for d, r in halves))
    labels = jax.tree.map(lambda a: jnp.asarray(a[target]), subject.labels)
    pseudo = Clouds(stored.target.points, labels.label, 0.5 * labels.weight) if stage == 2 else None
    batch = augment_and_prepare(parts, jnp.float32(0.25), jax.random.key(0), stored, pseudo)
    assert [view.domain for view in views] == ["source", "target"]
    assert [view.label is None for view in views] == [False, stage == 1]
    if stage == 2:  # the same cloud under the label that training has
        np.testing.assert_array_equal(views[1].label, labels.label)
        np.testing.assert_array_equal(batch.pseudo.points, batch.points.target)
        np.testing.assert_array_equal(batch.pseudo.weight, 0.5)
    for view, points, label, (domain, rows) in zip(views, batch.points, batch.label, halves, strict=True):
        np.testing.assert_array_equal(label, domain.label[rows])
        np.testing.assert_array_equal(view.stored, domain.points[rows])
        np.testing.assert_array_equal(view.points, points)
        assert points.shape == (8, 32, 3) and float(view.progress) == 0.25


def test_whole_mini_batches_of_the_runs_size_are_measured(subjects):
    drawn = examine.draw(subjects[1], examine.Settings(samples=20, pool=32))
    assert (drawn.rows[0].shape, drawn.measured, drawn.samples) == ((6, 8), 2, 16)
    assert examine.draw(subjects[1], examine.Settings(samples=1, pool=1)).samples == 8


def test_samples_are_no_part_of_the_pool_where_there_are_other_clouds(subjects):
    """A domain has 53 mini-batches of 8 clouds."""
    of = lambda samples, pool: examine.draw(subjects[1], examine.Settings(samples, pool))  # noqa: E731
    describe = lambda drawn: (len(drawn.rows[0]), drawn.measured, drawn.skipped, drawn.pool)  # noqa: E731
    assert describe(of(8, 16)) == (3, 1, 1, 16)
    assert describe(of(320, 208)) == (53, 40, 40, 104)  # half of those asked for
    assert describe(of(328, 208)) == (41, 41, 0, 328)  # less than half are left: all are in both
    assert describe(of(8, 10**4)) == (53, 1, 0, 424)
    np.testing.assert_array_equal(of(8, 16).rows, [rows[:3] for rows in of(328, 208).rows])
