"""What the benches and scripts import is there: they run for hours, seldom, and not in these tests."""

import ast
import importlib
import importlib.util
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
RIVALS = {
    "autofaiss",
    "clip_benchmark",
    "ranx",
    "pytrec_eval",
    "torchmetrics",
    "open_clip_train",
    "litserve",
}  # in no lock of ours
FILES = sorted([*(PROJECT / "bench").rglob("*.py"), *(PROJECT / "scripts").glob("*.py")])


@cache
def known_packages() -> set[str]:
    """What comes with Python, what is installed, and what benches find elsewhere."""
    return {*sys.stdlib_module_names, *packages_distributions(), *RIVALS} - {"picdesk"}


def names_of(file: Path) -> list[tuple[str, str]]:
    """The modules and names that a file imports from this project and from its neighbours."""
    found = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in found if str(node.module).split(".")[0] not in known_packages()]
    return [(str(node.module), alias.name) for node in ours for alias in node.names]


def is_there(module: str, name: str, folder: Path) -> bool:
    """Whether a module defines a name: one of the project by import, a neighbour by what it writes at its margin."""
    if module.split(".")[0] == "picdesk":
        found = importlib.import_module(module)
        return hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}") is not None
    if (PROJECT / module).is_dir():
        return (PROJECT / module / f"{name}.py").is_file()
    places = [home / f"{module.replace('.', '/')}.py" for home in (folder, folder.parent, PROJECT)]
    path = next((place for place in places if place.is_file()), PROJECT)
    margin = ast.parse(path.read_text() if path.is_file() else "").body
    defined = {node.name for node in margin if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    imported = {
        alias.asname or alias.name for node in margin if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    targets = [t for node in margin if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in margin if isinstance(node, ast.AnnAssign)]
    assigned = {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return name in defined | imported | assigned


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_imported_is_there(file: Path) -> None:
    assert [f"{module}.{name}" for module, name in names_of(file) if not is_there(module, name, file.parent)] == []


def test_every_file_was_seen() -> None:
    assert len(FILES) >= 25
    assert sum(len(names_of(file)) for file in FILES) > 100
