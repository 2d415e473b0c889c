"""The chunk that is chosen, for made-up programs and for a real one."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from smdsb_jax import gradients
from smdsb_jax.analysis import chunks
from smdsb_jax.analysis.chunks import choose_chunk
from smdsb_jax.run.memory import temporary_bytes

SAMPLES, WIDTH = 16, 256


def needs(each, asked):
    """Programs of so many bytes, which note the chunks that were asked for."""

    def lower(chunk):
        asked.append(chunk)
        return SimpleNamespace(compile=lambda: each * chunk)

    return lower


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setattr(chunks, "temporary_bytes", lambda compiled: compiled)


@pytest.mark.parametrize("memory, chunk", [(10**9, 16), (7 * 30, 7), (7 * 30 - 1, 6), (29, 1), (0, 1)])
def test_the_largest_chunk_that_fits(made_up, memory, chunk):
    asked = []
    assert choose_chunk(needs(30, asked), SAMPLES, memory, most=64) == chunk
    assert asked == [1]


def test_one_at_a_time_where_the_compiler_does_not_tell(made_up, monkeypatch):
    monkeypatch.setattr(chunks, "temporary_bytes", lambda compiled: None)
    assert choose_chunk(needs(30, []), SAMPLES, 10**9, most=64) == 1


def test_a_program_without_temporaries_takes_all_samples(made_up):
    assert choose_chunk(needs(0, []), SAMPLES, 1000, most=64) == SAMPLES


@pytest.mark.parametrize("backend, most, chunk", [("cpu", None, 1), ("gpu", None, 16), ("gpu", 4, 4)])
def test_no_more_than_is_of_use(made_up, monkeypatch, backend, most, chunk):
    monkeypatch.setattr(chunks.jax, "default_backend", lambda: backend)
    asked = []
    assert choose_chunk(needs(30, asked), SAMPLES, 10**9, most) == chunk
    assert asked == ([] if chunk == 1 else [1])  # compiling takes seconds


def loss_of_one(kernel, row):
    return jnp.sum(jnp.tanh(row @ kernel) ** 2)


def lower(chunk):
    kernel, rows = jnp.ones((WIDTH, WIDTH)), jnp.ones((SAMPLES, 8, WIDTH))
    program = functools.partial(gradients.products_and_norms, loss_of_one, chunk=chunk)
    return jax.jit(program).lower(kernel, rows, kernel[None])


def test_a_real_program_fits_with_the_chosen_chunk():
    assert choose_chunk(lower, SAMPLES, 2**40, most=SAMPLES) == SAMPLES
    budget = 5 * temporary_bytes(lower(1).compile())
    chunk = choose_chunk(lower, SAMPLES, budget, most=SAMPLES)
    assert chunk == 5 and temporary_bytes(lower(chunk).compile()) <= budget
