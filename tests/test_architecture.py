"""The floors: doors, pipelines, assembly, training, wings, ground floor. Imports go down, and never from wing to wing."""

import ast
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parents[1] / "src" / "picdesk"
WINGS = {"data", "backbones", "embedding", "search", "rerankers", "evaluation", "report", "serving"}
GROUND = {
    "measures",
    "measure_values",
    "interfaces",
    "products",
    "trec",
    "trec_io",
    "trec_lines",
    "trec_faults",
    "arrow",
    "children",
    "csv_cells",
    "machine",
    "stops",
    "unfinished",
    "collection",
    "errors",
    "files",
    "rows",
    "table",
    "text_files",
    "text_values",
    "marks",
    "network",
    "parts",
    "hub",
    "language",
    "weights",
}
FLOORS = {"training": 2, "assembly": 3, "pipelines": 4, "store": 5, "pack": 5, "check_submission": 5, "command": 6}
ROOMS = {
    "faiss": ("search/",),
    "open_clip": ("backbones/",),
    "openai": ("rerankers/endpoint.py",),
    "jsonschema": ("rerankers/asking.py",),
    "wandb": ("report/wandb_media.py",),
    "hydra": ("pipelines/", "assembly/"),
    "omegaconf": ("pipelines/", "assembly/", "training/checkpoint.py"),
}


def imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def floor(name: str) -> int:
    """0 ground, 1 wing, 2 training, 3 assembly, 4 pipelines, 5 a command inside the package, 6 the one over them all."""
    if name in GROUND:
        return 0
    return 1 if name in WINGS else FLOORS[name]


def faults(path: Path) -> list[str]:
    place = path.relative_to(SRC).as_posix()
    own = place.split("/")[0].removesuffix(".py")
    wrong = []
    for name in imports(path):
        parts = name.split(".")
        room = ROOMS.get(parts[0])
        if room and not place.startswith(room):
            wrong.append(f"{place} imports {name}")
        if parts[0] != "picdesk" or len(parts) == 1 or parts[1].startswith("__"):
            continue
        other = parts[1]
        if other != own and (floor(other) > floor(own) or floor(other) == floor(own) == 1):
            wrong.append(f"{place} imports {name}")
    return wrong


def test_imports_go_down_and_foreign_libraries_stay_in_their_rooms() -> None:
    files = [path for path in sorted(SRC.rglob("*.py")) if path != SRC / "__init__.py"]
    print(f"{len(files)} files read")
    assert len(files) >= 40
    assert [fault for path in files for fault in faults(path)] == []


def test_the_check_sees_a_forbidden_import(tmp_path: Path, monkeypatch: object) -> None:
    bad = SRC / "search" / "indexes.py"
    text = bad.read_text() + "\nimport wandb\nfrom picdesk.report import page\nfrom picdesk.pipelines import train\n"
    copy = tmp_path / "search"
    copy.mkdir()
    (copy / "indexes.py").write_text(text)
    monkeypatch.setitem(globals(), "SRC", tmp_path)  # type: ignore[attr-defined]
    assert len(faults(copy / "indexes.py")) == 3


def test_no_module_grows_past_its_bound() -> None:
    sizes = {path.relative_to(SRC).as_posix(): len(path.read_text().splitlines()) for path in SRC.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 300} == {}


def test_doors_that_train_nothing_do_not_wait_for_lightning() -> None:
    """Importing it takes longer than most searches."""
    told = "import sys, picdesk.pipelines.evaluate, picdesk.pipelines.retrieve, picdesk.report.loggers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert not {"pytorch_lightning", "torchmetrics", "transformers", "wandb"} & set(done.stdout.split())
