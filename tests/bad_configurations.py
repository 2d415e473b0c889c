"""Configurations of which one field is wrong, or right: cases of tests/bad_input.py."""

import functools
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from ml_collections import ConfigDict

from smdsb_jax.build import build_parts, load_domains
from smdsb_jax.config import flatten, resolve
from smdsb_jax.configs import bodies, embedded, folder, methods, pointda, pointsegda, segmentation
from smdsb_jax.defaults import SECTIONS
from smdsb_jax.run.check import check_parts
from smdsb_jax.statistics import STATISTICS
from tests.bad_values import ODD, SECONDS, TRACED, Case, near, shown, within

FILES: dict[str, tuple[Any, tuple[str, ...]]] = {  # with the methods that they take
    "embedded.py:c2s,budget=study": (embedded, tuple(methods.METHODS)),
    "folder.py:a2b,budget=trial": (folder, tuple(methods.METHODS)),
    "pointda.py:m2s": (pointda, tuple(methods.METHODS)),
    "bodies.py:m2s,budget=study": (bodies, tuple(segmentation.METHODS)),
    "pointsegda.py:f2m": (pointsegda, tuple(segmentation.METHODS)),
}
OPTIONS = {  # of a file's argument
    "encoder": tuple(SECTIONS["encoder"]),
    "combine": tuple(SECTIONS["combine"]),
    "pretext": tuple(SECTIONS["pretext"]),
    "pseudo_labels": tuple(SECTIONS["pseudo_labels"]),
    "selection": (*STATISTICS, "none", *methods.PRESETS),
}


@functools.cache
def base(argument: str) -> ConfigDict | None:
    """The configuration of a file and its argument; None where its own checks refuse it."""
    file, _, own = argument.partition(":")
    try:
        config = next(made for name, (made, _) in FILES.items() if name.startswith(file)).get_config(own)
        config.encoder.update(embedded.SMALL[config.encoder.name])  # is traced in less time
        resolve(config)
    except ValueError:
        return None
    return config


@st.composite
def arguments(draw: Any) -> str:
    """Of a configuration that is right."""
    file = draw(st.sampled_from(sorted(FILES)))
    words = [file, "encoder=pointnet", f"method={draw(st.sampled_from(FILES[file][1]))}"]
    for option in draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=2, unique=True)):
        words.append(f"{option}={draw(st.sampled_from(OPTIONS[option]))}")
    argument = ",".join(words)
    return argument if base(argument) is not None else ",".join(words[:2])


@st.composite
def configurations(draw: Any) -> Case:
    """One field that is changed, taken away or added."""
    argument = draw(arguments())
    config = base(argument).to_dict()
    fields = sorted(flatten(config))
    field = draw(st.sampled_from(fields))
    how = draw(
        st.sampled_from(
            ["odd", "odd", "odd", "odd", "near", "near", "unknown", "section", "missing", "whole"]
        )
    )
    *sections, name = field.split(".")
    value = draw(near(flatten(config)[field]) if how == "near" else ODD)
    if how == "unknown":
        name = draw(st.sampled_from([f"{name}s", name.upper(), "", "x", "ä\n", "name", "steps"]))
        sections = sections if f"{'.'.join([*sections, name])}" not in fields else [*sections, "x"]
    elif how == "section":
        sections, name = [], draw(st.sampled_from(["Selection", "stage3", "selections", "x\ny", "names"]))
        value = draw(st.one_of(ODD, st.just({}), st.just({"a": {}})))
    elif how == "whole" and sections:
        name = sections.pop()
    holder = config
    for section in sections:
        holder = holder.setdefault(section, {})
    if how == "missing":
        holder.pop(name)
    else:
        holder[name] = value
    path = ".".join([*sections, name])
    told = f"{argument} {path} {'missing' if how == 'missing' else f'= {shown(value)}'}"
    names = (path, name or "config. is", repr(name)[1:-1], *sections[:1])
    return Case("configuration", told, names, functools.partial(check_config, config, field))


def check_config(config: dict[str, Any], field: str, _: Path) -> None:
    """As a training checks it before it makes a file; of the data where a field of theirs has changed."""
    with within(SECONDS):
        resolved = resolve(ConfigDict(config))
    with within(TRACED):
        if field.startswith("data.") and resolved.data.name in ("embedded", "bodies"):
            load_domains(resolved)
        check_parts(resolved, build_parts(resolved, resolved.stages[0], 8))
