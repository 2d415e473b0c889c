"""Operations and bytes of compiled programs, beside XLA's own count and those by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from benchmarks.hlo import operations

X, Y = jnp.ones((8, 16)), jnp.ones((16, 4))


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile()


def counted(program):
    """(products, others, bytes) of all runs that the program tells."""
    found = [(one.runs or 0, one.work) for one in operations(program.as_text())]
    return tuple(
        sum(runs * getattr(work, kind) for runs, work in found) for kind in ("products", "others", "bytes")
    )


@pytest.mark.parametrize(
    "function, arguments, products, moved",
    [
        (jnp.matmul, (X, Y), 2 * 8 * 16 * 4, 4 * (8 * 16 + 16 * 4 + 8 * 4)),
        (
            lambda a, b: jnp.einsum("bij,bkj->bik", a, b),
            (jnp.ones((3, 8, 16)), jnp.ones((3, 4, 16))),
            2 * 3 * 8 * 16 * 4,
            4 * 3 * (8 * 16 + 16 * 4 + 8 * 4),
        ),
        (
            lambda a, b: lax.conv_general_dilated(
                a, b, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            ),
            (jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 5))),
            2 * 2 * 4 * 4 * 5 * 3 * 3 * 3,
            4 * (2 * 6 * 6 * 3 + 3 * 3 * 3 * 5 + 2 * 4 * 4 * 5),
        ),
    ],
    ids=["product", "batched product", "convolution"],
)
def test_products_are_counted_as_by_hand_and_by_xla(function, arguments, products, moved):
    program = compiled(function, *arguments)
    assert counted(program) == (products, 0, moved)
    assert program.cost_analysis()["flops"] == products


def test_a_fusion_is_what_passes_its_boundary():
    program = compiled(lambda x, y: (x + y) * x - y, jnp.ones((32, 8)), jnp.ones((32, 8)))
    assert counted(program) == (0, 3 * 256, 4 * 3 * 256)  # the sum and the product are not written
    assert program.cost_analysis()["flops"] == 3 * 256
    assert program.cost_analysis()["bytes accessed"] == 4 * 3 * 256


def test_a_reduction_is_one_operation_for_each_of_its_input():
    assert counted(compiled(lambda x: lax.reduce_max_p.bind(x, axes=(0,), out_sharding=None), X))[1] == 128


def test_loops_are_counted_by_their_trips():
    def powers(x, many):
        return lax.scan(lambda x, y: (x @ y, jnp.sum(x)), x, many)

    program = compiled(powers, jnp.ones((8, 8)), jnp.ones((5, 8, 8)))
    assert counted(program)[0] == 5 * 2 * 8**3
    found = {one.kind: one for one in operations(program.as_text())}
    assert found["products"].runs == 5 and found["loops"].runs == 1
    assert all("jit(powers)" in one.op_name for one in found.values())  # also of the compiler's copies


def test_only_the_part_that_is_touched_is_moved():
    def shifted(x):
        return lax.map(lambda row: row + 1, x)

    assert counted(compiled(shifted, jnp.ones((100, 64))))[2] < 3 * 4 * 2 * 6400  # not 100 times the whole
    rows, where = jnp.ones((1000, 64)), jnp.zeros(10, int)
    assert counted(compiled(lambda b, i: b.at[i].get(mode="promise_in_bounds"), rows, where))[2] < 4 * 2000
    scatter = compiled(lambda b, i: lax.map(lambda j: b.at[j].add(1.0)[0], i), rows, where)
    added = [one for one in operations(scatter.as_text()) if one.kind == "scatters"]
    assert all(one.work.bytes < 4 * 64 * 4 for one in added)


def test_what_the_program_does_not_say_has_no_number_of_runs():
    def halved(x):
        return lax.while_loop(lambda x: jnp.sum(x) > 1, lambda x: jnp.sin(x) / 2, x)

    def chosen(x):
        return lax.cond(jnp.sum(x) > 1, lambda: x @ x, lambda: jnp.sort(x))

    loop = {one.name: one.runs for one in operations(compiled(halved, X).as_text())}
    assert None in loop.values()
    branches = {one.kind: one.runs for one in operations(compiled(chosen, jnp.ones((9, 9))).as_text())}
    assert branches["products"] is None and branches["sorts"] is None and branches["loops"] == 1


def test_kinds():
    text = compiled(lambda x, i: (jnp.sort(x), lax.top_k(x, 3)[1], x[i].T, jnp.exp(x)), X, jnp.arange(3))
    assert {"sorts", "gathers", "element-wise"} <= {one.kind for one in operations(text.as_text())}
