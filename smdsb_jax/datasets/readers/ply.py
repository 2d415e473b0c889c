"""The PLY format of clouds and meshes, in text or binary of either byte order.

http://paulbourke.net/dataformats/ply/ [Turk, The PLY Polygon File Format, 1994]
"""

import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from smdsb_jax.datasets.readers.base import Unreadable
from smdsb_jax.datasets.readers.mesh import Mesh, mesh_or_cloud

# the header's names of types: letters that numpy and struct both know
KINDS = {
    "char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I",
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q",
    "uint64": "Q", "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CORNERS = ("vertex_indices", "vertex_index")


class Property(NamedTuple):
    """A value of each row, or a list of values."""

    name: str
    kind: str
    length: str = ""  # the kind of a list's length


class Element(NamedTuple):
    """A table of the file."""

    name: str
    count: int
    properties: list[Property]


Block = list[tuple[Property, int]]  # rows of equal length: each property's values in a row
Columns = dict[str, Any]  # by name: an array, or a list of lists of different lengths


def read_ply(path: Path) -> Mesh | np.ndarray:
    """The coordinates, and the polygons if there are some; further properties are passed over.

    Raises:
      Unreadable: a header that is not understood, missing coordinates, fewer rows than declared.
    """
    content = path.read_bytes()
    end = re.search(rb"^end_header[ \t]*(\r?\n|$)", content, re.MULTILINE)
    if not re.match(rb"ply\s", content) or end is None:
        raise Unreadable("has no header that begins with ply and ends with end_header")
    order, elements = _header(content[: end.start()].decode("utf-8", "replace"))
    source = Binary(content, end.end(), order) if order else Text(content[end.end() :])
    tables: dict[str, Columns] = {}
    for element in elements:
        try:
            tables[element.name] = _columns(source, element)
        except (IndexError, struct.error):
            declared = f"{element.count} rows of element {element.name}"
            raise Unreadable(f"declares {declared} and holds fewer: truncated") from None
    vertices, faces = tables.get("vertex", {}), tables.get("face", {})
    if not {"x", "y", "z"} <= vertices.keys():
        raise Unreadable(f"its vertices have {', '.join(vertices) or 'nothing'}, not x, y and z")
    points = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    name = next((name for name in CORNERS if name in faces), None)
    if faces and name is None:
        raise Unreadable(f"its faces have {', '.join(faces)}, not {' or '.join(CORNERS)}")
    return mesh_or_cloud(points, faces[name] if name else [])


def _header(text: str) -> tuple[str, list[Element]]:
    """The byte order and the tables."""
    order = None
    elements: list[Element] = []
    for line in text.splitlines():
        match line.split():
            case ["format", name, _] if name in ORDERS:
                order = ORDERS[name]
            case ["element", name, count] if count.isdecimal():
                elements.append(Element(name, int(count), []))
            case ["property", kind, name] if kind in KINDS and elements:
                elements[-1].properties.append(Property(name, KINDS[kind]))
            case ["property", "list", length, kind, name] if {length, kind} <= KINDS.keys() and elements:
                elements[-1].properties.append(Property(name, KINDS[kind], KINDS[length]))
            case ["ply"] | ["comment", *_] | ["obj_info", *_] | []:
                pass
            case _:
                raise Unreadable(f"the header's line {line[:40]!r} is not understood")
    if order is None:
        raise Unreadable("its header names no format")
    return order, elements


class Text:
    """The values of a file in text, one after the other."""

    def __init__(self, content: bytes):
        self.words = content.split()
        self.place = 0

    def value(self, kind: str) -> Any:
        """The next one; IndexError at the end."""
        self.place += 1
        return (float if kind in "fd" else int)(self.words[self.place - 1])

    def block(self, layout: Block, count: int) -> Columns | None:
        """The next `count` rows at once, without moving on; None if there are not so many."""
        width = sum(size for _, size in layout)
        words = self.words[self.place : self.place + count * width]
        if len(words) < count * width:
            return None
        table = np.array(words).astype(np.float64).reshape(count, width)
        ends = np.cumsum([size for _, size in layout])
        return {
            each.name: table[:, end - size : end].astype(each.kind)
            for (each, size), end in zip(layout, ends, strict=True)
        }

    def skip(self, layout: Block, count: int) -> None:
        """Move on behind such a block."""
        self.place += count * sum(size for _, size in layout)


class Binary:
    """The values of a binary file, one after the other."""

    def __init__(self, content: bytes, place: int, order: str):
        self.content, self.place, self.order = content, place, order

    def value(self, kind: str) -> Any:
        """The next one; struct.error at the end."""
        (value,) = struct.unpack_from(self.order + kind, self.content, self.place)
        self.place += struct.calcsize(self.order + kind)
        return value

    def block(self, layout: Block, count: int) -> Columns | None:
        """The next `count` rows at once, without moving on; None if there are not so many."""
        row = self._row(layout)
        if len(self.content) - self.place < count * row.itemsize:
            return None
        table = np.frombuffer(self.content, row, count, self.place)
        return {name: table[name].astype(row[name].base.newbyteorder("=")) for name in row.names or ()}

    def skip(self, layout: Block, count: int) -> None:
        """Move on behind such a block."""
        self.place += count * self._row(layout).itemsize

    def _row(self, layout: Block) -> np.dtype:
        return np.dtype([(each.name, self.order + each.kind, (size,)) for each, size in layout])


def _columns(source: Text | Binary, element: Element) -> Columns:
    """The next table: at once if its lists are as long as those of its first row, else value by value."""
    _, count, properties = element
    if not count or not properties:
        return {}
    start = source.place
    first = _row(source, properties)
    source.place = start
    layout: Block = []
    for each, values in zip(properties, first, strict=True):
        if each.length:
            layout.append((Property(f"length of {each.name}", each.length), 1))
        layout.append((each, len(values)))
    block = source.block(layout, count)
    lists = [(each.name, size) for each, size in layout if each.length]
    if block is not None and all((block[f"length of {name}"] == size).all() for name, size in lists):
        source.skip(layout, count)
        return {each.name: block[each.name] if each.length else block[each.name][:, 0] for each in properties}
    rows = [_row(source, properties) for _ in range(count)]
    columns = {each.name: [row[place] for row in rows] for place, each in enumerate(properties)}
    return {
        each.name: columns[each.name] if each.length else np.array(columns[each.name], each.kind)[:, 0]
        for each in properties
    }


def _row(source: Text | Binary, properties: list[Property]) -> list[list[Any]]:
    """The next row: each property's value or values."""
    return [
        [source.value(each.kind) for _ in range(source.value(each.length) if each.length else 1)]
        for each in properties
    ]
