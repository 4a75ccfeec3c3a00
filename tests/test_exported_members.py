"""The face of the package: which names it has, that each is there, and that importing it costs nothing."""

import subprocess
import sys

import picdesk

NAMES = [
    "ConfigError",
    "DataError",
    "Dataset",
    "MissingFileError",
    "Scores",
    "UserError",
    "compare",
    "load",
    "measure",
    "open_job",
    "sweep_results",
]


def test_the_face_has_these_names_and_no_other() -> None:
    assert picdesk.__all__ == NAMES
    assert {name for name in dir(picdesk) if not name.startswith("_")} == set(NAMES)
    for name in NAMES:
        found = getattr(picdesk, name)
        assert found.__doc__, name
        assert found.__module__.startswith("picdesk."), name


def test_importing_it_imports_nothing_heavy() -> None:
    asked = "import sys; before = {*sys.modules}; import picdesk; print(*({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert {name.split(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names == {"picdesk"}


def test_what_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(picdesk, "evaluate_everything")
