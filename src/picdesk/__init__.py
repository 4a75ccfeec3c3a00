"""Image-text retrieval experiments: configured by Hydra, trained by Lightning, searched by faiss, repeatable."""

__version__ = "0.1.0"
TYPE_CHECKING = False  # as typing has it, without importing that

if TYPE_CHECKING:
    from picdesk.assembly.opening import load
    from picdesk.errors import ConfigError, DataError, MissingFileError, UserError
    from picdesk.jobs.opened import open_job, sweep_results
    from picdesk.retrieval.dataset import Dataset
    from picdesk.retrieval.measuring import compare, measure
    from picdesk.retrieval.scores import Scores

_HOMES = {
    "ConfigError": "picdesk.errors",
    "DataError": "picdesk.errors",
    "Dataset": "picdesk.retrieval.dataset",
    "MissingFileError": "picdesk.errors",
    "Scores": "picdesk.retrieval.scores",
    "UserError": "picdesk.errors",
    "compare": "picdesk.retrieval.measuring",
    "load": "picdesk.assembly.opening",
    "measure": "picdesk.retrieval.measuring",
    "open_job": "picdesk.jobs.opened",
    "sweep_results": "picdesk.jobs.opened",
}
__all__ = [
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


def __getattr__(name: str) -> object:
    """A name of the face, imported when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'picdesk' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
