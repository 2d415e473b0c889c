"""The tree keeps its promises: tests mirror it, the README maps it, links hold, entries name sources."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "smdsb_jax"
# The scripts that rebuild the embedded data need the unpacked source package; their test compares the result.
REBUILDS = PACKAGE / "datasets" / "embedded"
MODULES = sorted(
    path.relative_to(PACKAGE)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py" and not path.is_relative_to(REBUILDS)
)


def catalogue_entries():
    """(module, dict name, key) of each literal ALL-CAPS dict in an __init__.py of the package."""
    for path in sorted({*PACKAGE.rglob("__init__.py")} - {PACKAGE / "commands" / "__init__.py"}):
        module = ".".join(path.parent.relative_to(ROOT).parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                if isinstance(target, ast.Name) and target.id.isupper():
                    yield from ((module, target.id, ast.literal_eval(key)) for key in node.value.keys)


ENTRIES = list(catalogue_entries())


def does_something(module):
    """Whether a module has functions; one that only declares types is tested by those who use them."""
    return any(
        isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse((PACKAGE / module).read_text()))
    )


@pytest.mark.parametrize("module", [m for m in MODULES if does_something(m)], ids=str)
def test_every_module_has_a_test_that_mirrors_it(module):
    assert (ROOT / "tests" / module.parent / f"test_{module.name}").exists()


def anchors(page):
    """Those that a renderer makes of the headings: lower case, spaces as hyphens, other signs left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short_and_maps_every_folder_and_all_links_lead_somewhere():
    readme = ROOT / "README.md"
    assert len(readme.read_bytes()) <= 8000
    table = readme.read_text(encoding="utf-8").partition("## The map")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    mapped = {name for cell in cells for name in re.findall(r"`(\w+)/`", cell)}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    folders |= {"smdsb_jax", "configs", "launch", "benchmarks", "reference", "docs", "tests"}
    assert mapped == folders
    broken = []
    for page in [readme, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            path, _, anchor = link.partition("#")
            found = page.parent / path if path else page
            if "://" not in link and (not found.exists() or (anchor and anchor not in anchors(found))):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [f for f in folders if not (f / "__init__.py").exists()] == []  # else the wheel lacks it


def test_the_catalogues_are_found():
    names = {name for _, name, _ in ENTRIES}
    assert {"COMBINE", "DATASETS", "ENCODERS", "PRETEXT", "PSEUDO_LABELS", "STATISTICS"} <= names


@pytest.mark.parametrize("module, name, key", ENTRIES)
def test_every_catalogue_entry_says_what_it_is_and_where_it_comes_from(module, name, key):
    entry = getattr(importlib.import_module(module), name)[key]
    if isinstance(entry, tuple):  # a function with the defaults that belong to it
        entry = next(part for part in entry if callable(part))
    assert entry.__doc__, f"{name}[{key!r}] has no docstring"
    text = entry.__doc__ + (sys.modules[entry.__module__].__doc__ or "")
    # a link, or a reference in brackets: [DGCNN, arXiv:1801.07829, Eq. 8]
    assert re.search(r"https?://|arXiv:|doi:|\[[^\]]*[A-Z][a-z][^\]]*\]", text), (
        f"{name}[{key!r}] names no source"
    )


def test_the_library_imports_neither_torch_nor_pyplot_nor_its_tests_tools():
    heavy = [
        "torch",
        "tensorflow",
        "matplotlib.pyplot",
        "pandas",
        "scipy.stats",
        "beartype",
        "mlflow",
        "sqlalchemy",
        "wandb",
        "smdsb_jax.analysis",
    ]
    code = f"import sys; from smdsb_jax import *; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_every_third_party_import_is_a_requirement():
    names = {"ml_collections": "ml-collections", "absl": "absl-py", "orbax": "orbax-checkpoint"}
    names |= {"sklearn": "scikit-learn"}
    required = re.findall(r"^[A-Za-z][\w-]*", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "launch").glob("*.py"), *(ROOT / "configs").glob("*.py")]:
        if path.is_relative_to(REBUILDS) and path.name != "__init__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for top in {m.split(".")[0] for m in modules} - set(sys.stdlib_module_names):
                if top not in ("smdsb_jax", "configs", "launch", "benchmarks"):
                    assert names.get(top, top) in required, f"{path} imports {top}"


def test_the_version_is_told_once():
    import smdsb_jax

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == smdsb_jax.__version__


def test_no_file_knows_a_path_of_one_machine():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git clone")
    own = re.compile(r"(?<![\w./~-])/(home|Users|root|work|workspace)/\w")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix not in (".npz", ".png", ".h5") and path.is_file() and path != Path(__file__):
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [f"{name}:{i}: {line}" for i, line in enumerate(lines, 1) if own.search(line)]
    assert found == []
