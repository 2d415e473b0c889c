import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from smdsb_jax.geometry.per_sample import linear, per_sample


@per_sample
def ranks(row, offset):
    return jnp.argsort(jnp.argsort(row)) + offset, row.sum()


ROWS = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
EXPECTED = np.argsort(np.argsort(ROWS, axis=1), axis=1)


def lowered(function, platform, *args):
    return jax.jit(function).trace(*args).lower(lowering_platforms=(platform,)).as_text(debug_info=True)


def test_vmap_equals_the_kernel_sample_by_sample():
    found, total = jax.jit(jax.vmap(ranks))(ROWS, jnp.arange(8))
    np.testing.assert_array_equal(found, EXPECTED + np.arange(8)[:, None])
    np.testing.assert_allclose(total, ROWS.sum(1), rtol=1e-5)


def test_an_argument_common_to_all_samples():
    found, _ = jax.vmap(ranks, in_axes=(0, None))(ROWS, 3)
    np.testing.assert_array_equal(found, EXPECTED + 3)


@pytest.mark.parametrize("outer", [1, 2, 8])
def test_vmap_of_vmap(outer):
    rows = ROWS.reshape(outer, 8 // outer, 5)
    found, _ = jax.jit(jax.vmap(jax.vmap(ranks, (0, None)), (0, None)))(rows, 0)
    np.testing.assert_array_equal(found, EXPECTED.reshape(rows.shape))


def test_variant_is_chosen_for_the_platform_lowered_for():
    for platform in ("cuda", "tpu"):
        text = lowered(jax.vmap(ranks), platform, ROWS, jnp.arange(8))
        assert "ranks/batched" in text
        assert "stablehlo.while" not in text
    text = lowered(jax.vmap(ranks), "cpu", ROWS, jnp.arange(8))
    assert "ranks/batched" not in text
    assert "stablehlo.while" in text


def test_a_batch_of_one_inside_a_vmap_is_the_outer_batch():
    def one(row):
        return jax.vmap(ranks)(row[None, :], jnp.zeros(1, int))

    text = lowered(jax.vmap(one), "cuda", ROWS)
    assert "ranks/batched" in text
    assert "stablehlo.while" not in text
    np.testing.assert_array_equal(jax.vmap(one)(ROWS)[0][:, 0], EXPECTED)


@pytest.mark.parametrize(("batch", "trips"), [(8, "2"), (6, "6")])  # 6 samples do not divide by 4
def test_each_device_runs_its_own_samples(batch, trips):
    mesh = jax.sharding.Mesh(jax.devices()[:4], ("data",))
    with jax.set_mesh(mesh):
        compiled = jax.jit(jax.vmap(ranks)).lower(ROWS[:batch], jnp.arange(batch)).compile()
        found, _ = compiled(ROWS[:batch], jnp.arange(batch))
    np.testing.assert_array_equal(found, EXPECTED[:batch] + np.arange(batch)[:, None])
    assert f'known_trip_count":{{"n":"{trips}"}}' in compiled.as_text()


@per_sample
def take(x, rows):
    return 2 * x[rows]


@per_sample
def spread(cotangent, rows):
    return jnp.zeros_like(cotangent).at[rows].add(2 * cotangent)


take_rows = linear(take, spread)
POINTS = np.random.default_rng(1).normal(size=(8, 5, 3)).astype(np.float32)
PICKED = np.random.default_rng(2).integers(0, 5, (8, 5)).astype(np.int32)


def test_linear_equals_its_kernel_and_is_differentiable_in_both_modes():
    np.testing.assert_allclose(take_rows(POINTS[0], PICKED[0]), 2 * POINTS[0][PICKED[0]])
    batched = jax.jit(lambda x: jax.vmap(take_rows)(x, PICKED))
    with jax.enable_x64(True):
        jax.test_util.check_grads(batched, (POINTS.astype(float),), order=2, modes=["fwd", "rev"])


def test_linear_uses_the_transpose_it_is_given():
    wrong = linear(take, per_sample(lambda cotangent, rows: 7 * cotangent))
    gradient = jax.grad(lambda x: wrong(x, PICKED[0]).sum())(POINTS[0])
    np.testing.assert_array_equal(gradient, np.full((5, 3), 7))
    # and the transpose of the transpose is the kernel again
    back = jax.linear_transpose(lambda x: wrong(x, PICKED[0]), POINTS[0])
    again = jax.linear_transpose(lambda y: back(y)[0], POINTS[0])(POINTS[0])[0]
    np.testing.assert_allclose(again, 2 * POINTS[0][PICKED[0]])


def test_gradients_of_linear_batch_inside_and_outside_of_vmap():
    def loss(x, rows):
        return jnp.sum(take_rows(x, rows) ** 2)

    inside = jax.jit(jax.vmap(jax.grad(loss)))(POINTS, PICKED)
    outside = jax.jit(jax.grad(lambda x: jnp.sum(jax.vmap(loss)(x, PICKED))))(POINTS)
    plain = jax.grad(lambda x: jnp.sum((2 * np.take_along_axis(x, PICKED[:, :, None], 1)) ** 2))
    np.testing.assert_allclose(inside, plain(jnp.asarray(POINTS)), rtol=1e-6)
    np.testing.assert_allclose(outside, inside, rtol=1e-6)
    shared = jax.jit(jax.vmap(jax.grad(loss), (0, None)))(POINTS, PICKED[0])  # indices without a batch
    np.testing.assert_allclose(shared[3], jax.grad(loss)(POINTS[3], PICKED[0]), rtol=1e-6)


def test_what_all_samples_share_collects_the_gradients_of_all():
    def total(x):
        return jnp.sum(jax.vmap(take_rows, (None, 0))(x, PICKED) ** 2)

    def plain(x):
        return jnp.sum(jax.vmap(lambda x, rows: 2 * x[rows], (None, 0))(x, PICKED) ** 2)

    found, expected = jax.jit(jax.grad(total))(POINTS[0]), jax.jit(jax.grad(plain))(POINTS[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    tangents = [jax.jvp(f, (POINTS[0],), (POINTS[1],))[1] for f in (total, plain)]
    np.testing.assert_allclose(*tangents, rtol=1e-5)


def test_what_is_shared_under_a_mesh_is_summed_over_the_devices():
    mesh = jax.sharding.Mesh(jax.devices()[:4], ("data",))

    def total(x, rows):
        return jnp.sum(jax.vmap(take_rows, (None, 0))(x, rows) ** 2)

    expected = jax.jit(jax.grad(total))(POINTS[0], PICKED)
    with jax.set_mesh(mesh):
        divided = jax.device_put(PICKED, jax.sharding.NamedSharding(mesh, jax.P("data")))
        compiled = jax.jit(jax.grad(total)).lower(POINTS[0], divided).compile()
        found = compiled(POINTS[0], divided)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert "all-reduce" in compiled.as_text() and "all-gather" not in compiled.as_text()


def test_constants_that_are_differentiated_are_refused():
    weigh = linear(per_sample(lambda x, w: w * x), per_sample(lambda y, w: w * y))
    np.testing.assert_allclose(jax.grad(lambda x: weigh(x, 3.0))(2.0), 3)
    with pytest.raises(NotImplementedError, match="second derivative"):
        jax.grad(lambda w: weigh(2.0, w))(3.0)


def test_the_transpose_runs_as_a_kernel_too():
    gradient = jax.grad(lambda x: jnp.sum(jax.vmap(take_rows)(x, PICKED) ** 2))
    assert "spread/batched" in lowered(gradient, "cuda", POINTS)
    assert "spread/batched" not in lowered(gradient, "cpu", POINTS)
