"""The house: floors from the doors down to the ground, and inside each room no circle, few files and a caption."""

import ast
import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "picdesk"
FLOORS = (
    ("trec", "process", "text", "measures", "filters", "ground"),
    ("data", "backbones", "embedding", "search", "rerankers", "evaluation", "report", "submissions"),
    ("readers",),  # what a format gives is made of pictures, places and sources: those of data
    ("training",),
    ("retrieval",),
    ("assembly",),
    ("jobs",),
    ("pages", "sweeps"),
    ("serving",),
    ("tasks",),
    ("commands",),
)
"""Rooms from the ground up. A room imports what lies below it, never one on its own floor (but for those of the ground)."""
GROUND = "ground"
TOP = {"command"}
"""The loose file that stands over all rooms."""
FORMER = {"pipelines/__init__.py", "pipelines/config.py", "pipelines/identity.py", "data/queries.py", "data/readers.py"}
"""Old names that scripts elsewhere import: a docstring and one line that forwards."""
FOREIGN = {
    "faiss": ("search/",),
    "lancedb": ("search/",),
    "open_clip": ("backbones/",),
    "openai": ("rerankers/endpoint.py",),
    "fastapi": ("serving/",),
    "starlette": ("serving/",),
    "uvicorn": ("serving/process.py", "serving/connection.py"),
    "prometheus_client": ("serving/prometheus.py",),
    "jsonschema": ("rerankers/asking.py",),
    "wandb": ("report/wandb_media.py",),
    "hydra": ("assembly/", "sweeps/callbacks.py", "sweeps/study.py", "commands/door.py", "commands/composing.py"),
    "omegaconf": ("assembly/", "sweeps/callbacks.py", "sweeps/study.py", "commands/composing.py"),
}
STILL = {"jobs/attempts.py", "jobs/mistakes.py"}
"""Files above `assembly/` that ask Hydra itself: how a job of a sweep began, what its errors mean. The list only gets shorter."""
MOST_FILES, MOST_LINES, LARGEST_SHARE = 22, 300, 0.105
MOST_CONFIGS = 40
LEAST_FILES, LEAST_ROOMS = 250, 17


def name_of(path: Path) -> str:
    return path.relative_to(SRC).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


def sources() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def imports(path: Path) -> list[str]:
    """Full names of what a file imports, at its top or inside functions; not what only a type checker reads."""
    return read(path)[0]


@functools.cache
def read(path: Path) -> tuple[list[str], int]:
    """What a file imports, and how many of its functions take a config; it is parsed once."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    unread = {id(node) for block in nodes if is_for_types(block) for node in ast.walk(block)}
    names: list[str] = []
    for node in (node for node in nodes if id(node) not in unread):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return names, sum(map(takes_a_config, functions))


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def room_of(place: str) -> str:
    return place.split("/")[0] if "/" in place else GROUND


def floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def faults(path: Path) -> list[str]:
    """Imports that go up, from a room to another on its floor, or of a library that lives elsewhere."""
    place = path.relative_to(SRC).as_posix()
    own, wrong = room_of(place), []
    if place in FORMER or place.removesuffix(".py") in TOP:
        return []
    for name in imports(path):
        parts = name.split(".")
        allowed = FOREIGN.get(parts[0])
        if allowed and not place.startswith(allowed) and not (parts[0] in ("hydra", "omegaconf") and place in STILL):
            wrong.append(f"{place} imports {name}")
        if parts[0] != "picdesk" or len(parts) == 1 or parts[1].startswith("__"):
            continue
        other = parts[1] if (SRC / parts[1]).is_dir() else GROUND
        if other != own and floor(other) >= max(floor(own), 1):
            wrong.append(f"{place} imports {name}")
    return wrong


def graph(files: Iterable[Path]) -> dict[str, set[str]]:
    """Which module imports which, functions included."""
    files = list(files)
    known = {f"picdesk.{name_of(path)}": name_of(path) for path in files if path.name != "__init__.py"}
    edges: dict[str, set[str]] = {}
    for path in files:
        reached = {known.get(name) or known.get(name.rpartition(".")[0]) for name in imports(path)}
        edges[name_of(path)] = {other for other in reached if other and other != name_of(path)}
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules of which each reaches all others."""
    reach: dict[str, set[str]] = {}
    for start in edges:
        seen, left = set(), [*edges[start]]
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += edges.get(name, ())
        reach[start] = seen
    alike = {frozenset(o for o in edges if o in reach[name] and name in reach[o]) for name in edges}
    return sorted(sorted(names) for names in alike if len(names) > 1)


def rooms() -> Iterator[Path]:
    yield from (folder for folder in sorted(SRC.iterdir()) if folder.is_dir() and (folder / "__init__.py").is_file())


def test_imports_go_down_and_foreign_libraries_stay_in_their_rooms() -> None:
    print(f"{len(sources())} files read")
    assert len(sources()) >= LEAST_FILES, "files went missing, or lie where they are not looked for"
    assert [fault for path in sources() for fault in faults(path)] == []


def test_every_room_is_on_a_floor() -> None:
    names = {folder.name for folder in rooms()} - {"pipelines"}
    known = {room for level in FLOORS for room in level} - {GROUND}
    assert names <= known, f"not on a floor: {names - known}"
    assert len(names) >= LEAST_ROOMS, f"rooms went missing: {known - names}"


def test_there_is_no_circle_and_none_is_hidden_in_functions() -> None:
    assert circles(graph(sources())) == []


def takes_a_config(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return any(one.arg == "cfg" or (one.annotation and "DictConfig" in ast.unparse(one.annotation)) for one in given)


def test_few_functions_take_a_config_and_none_below_the_assembly() -> None:
    taking = [path.relative_to(SRC).as_posix() for path in sources() for _ in range(read(path)[1])]
    assert 10 <= len(taking) <= MOST_CONFIGS
    assert {room_of(place) for place in taking} <= {"assembly", "commands", "sweeps"}


def test_the_list_of_files_that_still_take_a_config_holds_no_other() -> None:
    taking = {
        p.relative_to(SRC).as_posix()
        for p in sources()
        if any(n.split(".")[0] in ("hydra", "omegaconf") for n in imports(p))
    }
    assert taking >= STILL, f"take it off the list: {STILL - taking}"


@pytest.mark.parametrize("folder", [SRC, *rooms()], ids=lambda folder: folder.name)
def test_a_room_has_a_caption_and_few_files(folder: Path) -> None:
    text = (folder / "__init__.py").read_text()
    caption = ast.get_docstring(ast.parse(text))
    assert caption, f"{folder.name}/__init__.py has no caption"
    assert "\n" not in caption, f"{folder.name}: a caption is one line"
    files = [path for path in folder.glob("*.py") if path.relative_to(SRC).as_posix() not in FORMER]
    assert len(files) <= MOST_FILES, f"{folder.name}: {len(files)} files"


def test_no_room_is_most_of_the_house() -> None:
    lines = {folder.name: sum(len(p.read_text().splitlines()) for p in folder.rglob("*.py")) for folder in rooms()}
    total = sum(len(path.read_text().splitlines()) for path in sources())
    assert {name: f"{count / total:.1%}" for name, count in lines.items() if count > LARGEST_SHARE * total} == {}


def test_former_names_only_forward() -> None:
    for place in sorted(FORMER):
        body = ast.parse((SRC / place).read_text()).body
        assert isinstance(body[0], ast.Expr), f"{place} does not say what it is for"
        converted = [node for node in body if isinstance(node, ast.FunctionDef)]
        rest = [node for node in body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]
        assert rest == converted[:1], f"{place} is to forward, with one function at most where its arguments changed"


def test_the_check_sees_a_forbidden_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (SRC / "search" / "indexes.py").read_text()
    for room in ("search", "report", "tasks"):
        (tmp_path / room).mkdir()
    bad = tmp_path / "search" / "indexes.py"
    bad.write_text(text + "\nimport wandb\nfrom picdesk.report import page\nfrom picdesk.tasks import train\n")
    monkeypatch.setattr(sys.modules[__name__], "SRC", tmp_path)
    assert len(faults(bad)) == 3


def test_the_check_sees_a_circle_inside_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SRC", tmp_path)
    (tmp_path / "one.py").write_text("from picdesk import other\n")
    (tmp_path / "other.py").write_text("def late():\n    from picdesk.one import thing\n")
    assert circles(graph(sources())) == [["one", "other"]]


def test_no_module_grows_past_its_bound() -> None:
    sizes = {path.relative_to(SRC).as_posix(): len(path.read_text().splitlines()) for path in sources()}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}
