"""Kernels are written for one sample; this module is the one place that says how a batch of them runs."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

DATA_AXIS = "data"  # the mesh axis over which a batch is divided

Kernel = Callable[..., Any]
Size: TypeAlias = Any  # an int, or a symbol of `jax.export`, which equals and divides nothing


def per_sample(kernel: Kernel, accelerator: Kernel | None = None) -> Kernel:
    """Let `jax.vmap` of a one-sample kernel run well everywhere: `jax.vmap(per_sample(f))(x)`.

    - On a CPU the samples run one after the other, so that what a sample needs stays in the cache
      (3 to 10 times faster for gathers than the batched program).
    - On an accelerator the batched program `jax.vmap(accelerator)` runs, under the name `<f>/batched`.
    - Under a mesh with an axis `data` (`jax.set_mesh`), each device runs its own samples only; under
      `jit` alone a loop over samples would run all of them on every device.

    The choice is made when the program is lowered for a platform (`jax.lax.platform_dependent`),
    not from the machine that traces it. Wrap functions that are not differentiated themselves: index
    searches, and what `linear` or a rule of differentiation calls.

    Args:
      kernel: of one sample, arrays -> arrays.
      accelerator: the same function in the form that suits an accelerator; None: `kernel` itself.
    """
    other = accelerator or kernel

    def one(*args: Any) -> Any:
        if other is kernel:
            return kernel(*args)
        return jax.lax.platform_dependent(*args, cpu=kernel, default=other)

    mapped = jax.custom_batching.custom_vmap(one)

    @mapped.def_vmap
    def vmap_rule(size: Size, is_batched: list[Any], *args: Any) -> tuple[Any, Any]:
        leaves, structure = jax.tree.flatten(args)
        batched = jax.tree.leaves(tuple(is_batched))
        axes = jax.tree.unflatten(structure, [0 if b else None for b in batched])

        def one_by_one(*args: Any) -> Any:
            own = [leaf for leaf, b in zip(jax.tree.leaves(args), batched, strict=True) if b]

            def sample(own: list[Any]) -> Any:
                merged = _with_own(jax.tree.leaves(args), batched, own)
                # `mapped`, not `kernel`: a second vmap around this loop must find its own loop again
                return mapped(*jax.tree.unflatten(structure, merged))

            with jax.named_scope(f"{kernel.__name__}/one_by_one"):
                return jax.lax.map(sample, own)

        def together(*args: Any) -> Any:
            with jax.named_scope(f"{kernel.__name__}/batched"):
                return jax.vmap(other, in_axes=axes)(*args)

        def run(*args: Any) -> Any:
            return jax.lax.platform_dependent(*args, cpu=one_by_one, default=together)

        if size == 1:  # e.g. a network applied to one cloud: leave the batch to an outer vmap, if any
            only = [leaf[0] if b else leaf for leaf, b in zip(leaves, batched, strict=True)]
            out = mapped(*jax.tree.unflatten(structure, only))
            out = jax.tree.map(lambda leaf: leaf[None], out)
        else:
            out = (_divided(run, axes) if _divides(size) else run)(*args)
        return out, jax.tree.map(lambda _: True, out)

    return mapped


def _with_own(arguments: Sequence[Any], batched: Sequence[bool], own: Sequence[Any]) -> list[Any]:
    """The arguments of one sample: its own in the places of the batched ones."""
    rest = iter(own)
    return [next(rest) if b else argument for argument, b in zip(arguments, batched, strict=True)]


def _divides(size: Size) -> bool:
    """Whether the ambient mesh splits `size` samples evenly over devices not already split."""
    mesh = jax.sharding.get_abstract_mesh()
    devices = dict(zip(mesh.axis_names, mesh.axis_sizes, strict=True)).get(DATA_AXIS, 1)
    return devices > 1 and DATA_AXIS not in mesh.manual_axes and size % devices == 0


def _divided(run: Kernel, axes: Any, whole_output: bool = False) -> Kernel:
    """`run` on each device for its own samples."""
    divided, whole = jax.sharding.PartitionSpec(DATA_AXIS), jax.sharding.PartitionSpec()
    specs = jax.tree.map(lambda axis: whole if axis is None else divided, axes, is_leaf=lambda a: a is None)
    out = whole if whole_output else divided
    return jax.shard_map(run, in_specs=specs, out_specs=out, check_vma=False)


def linear(kernel: Kernel, transpose: Kernel) -> Kernel:
    """A one-sample function `f(x, *constants) -> y`, linear in x, whose transpose has a kernel of its own.

    Differentiable in forward and reverse mode (`jax.custom_vjp` has reverse mode only), under `jax.vmap`
    inside or outside (`jax.custom_derivatives.linear_call` has no vmap). AD's own transposes of gathers leave
    the cache, and those of loops over gathers copy their sums in every turn.

    The constants (indices, or the other factor of a product) are not differentiated: where they depend on
    what is, differentiation raises NotImplementedError.

    Args:
      kernel: `per_sample`, (x, *constants) -> y, one array.
      transpose: `per_sample`, (cotangent of y, *constants) -> cotangent of x.
    """
    return lambda x, *constants: _linear.bind(x, *constants, kernel=kernel, transpose=transpose)


_linear = Primitive("per_sample_linear")


def _call(*args: Any, kernel: Kernel, transpose: Kernel) -> Any:
    del transpose
    return kernel(*args)


def _shape(*args: Any, kernel: Kernel, transpose: Kernel) -> Any:
    del transpose
    out = jax.eval_shape(kernel, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in args))
    return ShapedArray(out.shape, out.dtype)


def _jvp(primals: Any, tangents: Any, **kernels: Kernel) -> Any:
    constants, tangent = primals[1:], tangents[0]
    if not all(_is_zero(t) for t in tangents[1:]):
        raise NotImplementedError(
            "A second derivative through a per-sample kernel: there are first ones only. Write the layer by "
            "its plain formula, as the tests have it."
        )
    out = _linear.bind(*primals, **kernels)
    if isinstance(tangent, ad.Zero):
        return out, ad.Zero.from_primal_value(out)  # type: ignore[attr-defined]
    return out, _linear.bind(tangent, *constants, **kernels)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, ad.Zero) or tangent.dtype == jax.dtypes.float0


def _transpose(cotangent: Any, x: Any, *constants: Any, kernel: Kernel, transpose: Kernel) -> Any:
    if isinstance(cotangent, ad.Zero):
        return [ad.Zero(x.aval), *(None for _ in constants)]
    back = _linear.bind(cotangent, *constants, kernel=transpose, transpose=kernel)
    return [back, *(None for _ in constants)]


def _batch(args: Any, axes: Any, *, kernel: Kernel, transpose: Kernel) -> Any:
    args = [a if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(args, axes, strict=True)]
    over_x, *over_constants = [None if axis is None else 0 for axis in axes]
    over_cotangent = (0, *over_constants)
    # an x that all samples share collects the cotangents of all
    back = _sum_over(transpose, over_cotangent) if over_x is None else jax.vmap(transpose, over_cotangent)
    return _linear.bind(*args, kernel=jax.vmap(kernel, (over_x, *over_constants)), transpose=back), 0


def _sum_over(kernel: Kernel, axes: tuple[int | None, ...]) -> Kernel:
    """The sum of a one-sample kernel's array over samples, by the rules of `per_sample`.

    On a CPU it is added up sample by sample, so that the array of all samples' terms never exists.
    """

    def one_by_one(*args: Any) -> Any:
        batched = [axis is not None for axis in axes]
        own = [a for a, b in zip(args, batched, strict=True) if b]
        first = jax.eval_shape(kernel, *_with_own(args, batched, [a[0] for a in own]))
        add = lambda total, own: (total + kernel(*_with_own(args, batched, own)), None)  # noqa: E731
        return jax.lax.scan(add, jnp.zeros(first.shape, first.dtype), own)[0]

    def together(*args: Any) -> Any:
        return jnp.sum(jax.vmap(kernel, axes)(*args), axis=0)

    def run(*args: Any) -> Any:
        return jax.lax.platform_dependent(*args, cpu=one_by_one, default=together)

    def total(*args: Any) -> Any:
        size = next(a.shape[0] for a, axis in zip(args, axes, strict=True) if axis is not None)
        if not _divides(size):
            return run(*args)
        return _divided(lambda *args: jax.lax.psum(run(*args), DATA_AXIS), axes, whole_output=True)(*args)

    return total


_linear.def_impl(_call)
_linear.def_abstract_eval(_shape)
ad.primitive_jvps[_linear] = _jvp
ad.primitive_transposes[_linear] = _transpose
batching.primitive_batchers[_linear] = _batch
mlir.register_lowering(_linear, mlir.lower_fun(_call, multiple_results=False))


def exact_product(a: Array, b: Array) -> Array:
    """A b', in full precision on every platform: a rounded distance picks other points."""
    return jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
