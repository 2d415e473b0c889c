import ast
from pathlib import Path

import pytest

import smdsb_jax.datasets.readers as readers
from smdsb_jax.datasets.readers import READERS

MODULES = sorted(Path(readers.__file__).parent.glob("*.py"))


def test_suffixes_are_in_small_letters():
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in READERS)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_packages_of_formats_are_imported_when_a_file_is_read(module):
    for node in ast.parse(module.read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & {"trimesh", "pypcd4", "laspy", "lazrs"}
