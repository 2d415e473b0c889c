import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smdsb_jax.per_sample import per_sample


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
