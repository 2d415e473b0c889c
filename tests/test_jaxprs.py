"""Parts of a scan's inputs, as the loop that was written has them."""

import jax
import jax.numpy as jnp

from smdsb_jax.jaxprs import ScanInputs, scan_inputs


def test_inputs_of_a_scan():
    def loop(factor, start, rows, others):
        def turn(carry, row):
            first, second = row
            return (carry[0] + factor * first, carry[1] - second), first

        return jax.lax.scan(turn, (start, 2 * start), (rows, others))

    program = jax.make_jaxpr(loop)(2.0, 1.0, jnp.ones(3), jnp.ones(3))
    (scan,) = (equation for equation in program.eqns if equation.primitive.name == "scan")
    given = ["factor", "start", "twice", "rows", "others"]
    assert scan_inputs(scan.params, given) == ScanInputs(["factor"], ["start", "twice"], ["rows", "others"])
