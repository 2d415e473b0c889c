"""What a compiled program has to do: the operations and bytes of its instructions, read from its text.

Bytes are those that pass the boundary of an instruction: of a fusion what it takes and leaves, of a slice or
an update in place only the part that is touched. What is inside of loops is run as often as they turn.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple


class Instruction(NamedTuple):
    """A line of the program's text."""

    name: str
    opcode: str
    shape: str  # as f32[8,4]{1,0}, or a tuple of such
    operands: tuple[str, ...]
    attributes: str  # what follows the operands
    returned: bool  # by its computation


class Work(NamedTuple):
    """What one run of an instruction does."""

    products: int  # multiplications and additions of matrix products and convolutions
    others: int  # operations on elements: one for each of the output, of a reduction for each of the input
    bytes: int  # read and written


class Operation(NamedTuple):
    """An instruction that is run."""

    name: str
    kind: str  # of KINDS
    op_name: str  # where it comes from, as jax names it; if the compiler put it in, of what it is for
    runs: int | None  # None: the program does not say, as in the branches of a condition
    work: Work


Computation = dict[str, Instruction]

# that run other computations, and are not the work themselves
LOOPS = {"while", "conditional", "call"}
# that name what is there
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id",
    "replica-id", "opt-barrier",
}  # fmt: skip
# that move what is there
MOVES = {
    "copy", "transpose", "reshape", "broadcast", "slice", "dynamic-slice", "dynamic-update-slice", "reverse",
    "concatenate", "pad", "iota", "copy-start", "copy-done",
}  # fmt: skip
# Of a fusion the first that it contains; of others `element-wise`, or `copies` if all of it is of MOVES.
KINDS = {
    "loops": LOOPS,
    "products": {"dot", "convolution"},
    "sorts": {"sort", "TopK"},
    "scatters": {"scatter"},
    "gathers": {"gather"},
    "reductions": {"reduce", "reduce-window", "select-and-scatter"},
    "library calls": {"custom-call"},  # their operations are not known
}
NO_ARITHMETIC = FREE | MOVES | LOOPS | {"fusion", "gather", "scatter", "sort", "custom-call"}
TAKES_PART = {"slice", "dynamic-slice", "gather"}  # of their first operand


def operations(text: str) -> list[Operation]:
    """The instructions that `compiled.as_text()` runs, those of loops and branches among them."""
    computations, entry = _parse(text)
    return list(_run(computations, entry, 1, ""))


def _run(
    computations: dict[str, Computation], name: str, runs: int | None, op_name: str
) -> Iterator[Operation]:
    names = _names(computations[name])
    for one in computations[name].values():
        if one.opcode in FREE:
            continue
        own_name = names[one.name] or op_name
        yield Operation(
            one.name, _kind(one, computations), own_name, runs, _work(one, computations[name], computations)
        )
        if one.opcode not in LOOPS:
            continue
        trips = 1 if one.opcode == "call" else _trip_count(one)
        for role, called in _called(one):
            count = trips + 1 if role == "condition" and trips is not None else trips
            inside = None if runs is None or count is None else runs * count
            yield from _run(computations, called, inside, own_name)


def _names(computation: Computation) -> dict[str, str]:
    """The name by jax of each instruction; of one without, that of its first user with one."""
    names: dict[str, str] = {}
    for one in reversed(computation.values()):  # users come after what they use
        names[one.name] = _attribute(one, r'op_name="([^"]*)"') or names.get(one.name, "")
        names |= dict.fromkeys(one.operands, names[one.name]) if names[one.name] else {}
    return names


def _trip_count(loop: Instruction) -> int | None:
    known = _attribute(loop, r'"known_trip_count":\{"n":"(\d+)"')
    return int(known) if known else None


def _kind(one: Instruction, computations: dict[str, Computation]) -> str:
    inside = _inside(one, computations)
    targets = {_attribute(inner, r'custom_call_target="([^"]*)"') for inner in inside}
    opcodes = ({inner.opcode for inner in inside} | targets) - FREE - {""}
    found = [kind for kind, of_kind in KINDS.items() if opcodes & of_kind]
    return found[0] if found else "copies" if opcodes <= MOVES else "element-wise"


def _inside(one: Instruction, computations: dict[str, Computation]) -> list[Instruction]:
    """The instructions of a fusion, or the one itself."""
    if one.opcode != "fusion":
        return [one]
    body = computations[_called(one)[0][1]]
    return [inner for part in body.values() for inner in _inside(part, computations)]


def _work(one: Instruction, around: Computation, computations: dict[str, Computation]) -> Work:
    if one.opcode in LOOPS:
        return Work(0, 0, 0)
    if one.opcode == "fusion":
        body = computations[_called(one)[0][1]]
        of_parts = [_work(part, body, computations) for part in body.values() if part.opcode not in FREE]
        reads = sum(_taken(name, body) for name, part in body.items() if part.opcode == "parameter")
        left = _left(next(name for name, part in body.items() if part.returned), body)
        return Work(sum(w.products for w in of_parts), sum(w.others for w in of_parts), reads + left)
    reads = sum(_taken_by(one, name, around) for name in dict.fromkeys(one.operands))
    moved = reads + _left(one.name, around)
    if one.opcode == "dot":
        return Work(2 * _size(one.shape) * _contracted(one, around), 0, moved)
    if one.opcode == "convolution":
        return Work(2 * _size(one.shape) * _window_inputs(one, around), 0, moved)
    if one.opcode == "reduce":
        return Work(0, _size(around[one.operands[0]].shape), moved)
    if one.opcode == "reduce-window":
        return Work(0, _size(one.shape) * math.prod(_numbers(one, r"size=([\dx]+)")), moved)
    return Work(0, 0 if one.opcode in NO_ARITHMETIC else _size(one.shape), moved)


def _contracted(dot: Instruction, around: Computation) -> int:
    shape = _dimensions(around[dot.operands[0]].shape)[0]
    return math.prod(shape[axis] for axis in _numbers(dot, r"lhs_contracting_dims=\{([\d,]*)\}"))


def _window_inputs(convolution: Instruction, around: Computation) -> int:
    """Products for an element of the output: the kernel's window times its input channels."""
    kernel = _dimensions(around[convolution.operands[1]].shape)[0]
    labels = _attribute(convolution, r"dim_labels=\w+_(\w+)->")
    return math.prod(size for size, label in zip(kernel, labels, strict=True) if label != "o")


def _taken(name: str, body: Computation) -> int:
    """Bytes that a computation reads of a value in it."""
    taken = 0
    for user in body.values():
        if name in user.operands:
            again = user.opcode == "bitcast"
            taken += _taken(user.name, body) if again else _taken_by(user, name, body)
    return min(taken, _bytes(body[name].shape))


def _taken_by(user: Instruction, name: str, around: Computation) -> int:
    whole = _bytes(around[name].shape)
    if name != user.operands[0] or name in user.operands[1:]:
        return whole
    if user.opcode in TAKES_PART:
        return min(whole, _bytes(user.shape))
    if user.opcode == "dynamic-update-slice":
        return 0
    return min(whole, _touched(user, around)) if user.opcode == "scatter" else whole


def _left(name: str, body: Computation) -> int:
    """Bytes that are written to leave a value."""
    one = body[name]
    if one.opcode == "tuple":
        return sum(_left(part, body) for part in one.operands)
    if one.opcode == "bitcast":
        return _left(one.operands[0], body)
    if one.opcode == "dynamic-update-slice":
        return _bytes(body[one.operands[1]].shape)
    if one.opcode == "scatter":
        return min(_bytes(one.shape), _touched(one, body))
    return 0 if one.opcode == "parameter" else _bytes(one.shape)


def _touched(scatter: Instruction, around: Computation) -> int:
    return _bytes(around[scatter.operands[-1]].shape)  # as much as there is to add


def _dimensions(shape: str) -> list[list[int]]:
    return [[int(n) for n in sizes.split(",") if n] for sizes in re.findall(r"\w+\[([\d,]*)\]", shape)]


def _size(shape: str) -> int:
    """Elements, of a tuple those of the first."""
    return math.prod(_dimensions(shape)[0])


def _bytes(shape: str) -> int:
    types = re.findall(r"(\w+)\[[\d,]*\]", shape)
    bits = [8 if t == "pred" else int((re.findall(r"\d+", t) or ["0"])[0]) for t in types]  # a token: 0
    return sum(math.ceil(b * math.prod(sizes) / 8) for b, sizes in zip(bits, _dimensions(shape), strict=True))


def _attribute(one: Instruction, pattern: str) -> str:
    found = re.search(pattern, one.attributes)
    return found[1] if found else ""


def _numbers(one: Instruction, pattern: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", _attribute(one, pattern))]


def _called(one: Instruction) -> list[tuple[str, str]]:
    """(role, computation) of those that an instruction runs."""
    found = []
    for role, names in re.findall(
        r"\b(calls|body|condition|to_apply|branch_computations|true_computation|false_computation)="
        r"(\{[^}]*\}|%?[\w.\-]+)",
        one.attributes,
    ):
        found += [(role, name) for name in re.findall(r"[\w.\-]+", names)]
    return found


def _parse(text: str) -> tuple[dict[str, Computation], str]:
    """Computations by name, and the name of the first that is run."""
    computations: dict[str, Computation] = {}
    entry, current = "", {}
    for line in text.splitlines():
        if opened := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$", line):
            current = computations[opened[2]] = {}
            entry = opened[2] if opened[1] else entry
        elif given := re.match(r"\s+(ROOT )?%?([\w.\-]+) = (.*)", line):
            current[given[2]] = _instruction(given[2], given[3], bool(given[1]))
    return computations, entry


def _instruction(name: str, rest: str, returned: bool) -> Instruction:
    cut = _closing(rest, 0) if rest.startswith("(") else rest.index(" ")
    shape, rest = rest[:cut], rest[cut:].lstrip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    operands = re.findall(r"%([\w.\-]+)", rest[opening:closing])
    return Instruction(name, rest[:opening], shape, tuple(operands), rest[closing:], returned)


def _closing(text: str, opening: int) -> int:
    """Behind the parenthesis that closes the one at `opening`."""
    depth = 0
    for at, sign in enumerate(text[opening:], start=opening):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return at + 1
    raise ValueError(f"The program's text has no end of {text[opening : opening + 40]!r}.")
