"""serve.py: the page and the API, until a signal asks for the end."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from picdesk.assembly.opening import Source
from picdesk.assembly.session import Session
from picdesk.errors import ConfigError
from picdesk.jobs.folder import need_positive
from picdesk.parts import config_part
from picdesk.serving.server_settings import Limits
from picdesk.tasks.base import Task

NEEDED = ("fastapi", "uvicorn", "httptools", "multipart", "prometheus_client")


@config_part
@dataclass(kw_only=True)
class Serve(Task, Limits):
    """A data set, or the saved index in `index_dir`, as a page and an API."""

    takes_min_score = True
    index_dir: str | None = None

    def run(self, session: Session) -> None:
        """Open, listen, answer. Raises `ConfigError` where the packages of a server are not installed, and for wrong values."""
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise ConfigError(f"task=serve needs {', '.join(missing)}: pip install 'picdesk[serve]'")
        need_positive(session.settings, scored=False)
        depth = session.settings.run_depth
        if depth > self.most:
            raise ConfigError(
                f"run_depth={depth}: more than serve.most={self.most} lists; give a smaller one, or more of the other"
            )
        from picdesk.serving.process import serve

        serve(Source(session, self.index_dir), self)
