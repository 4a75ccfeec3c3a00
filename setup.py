"""What `pyproject.toml` cannot say: a wheel ships `conf/`, the demo data and the doors, as `picdesk/shipped` (`picdesk.home`)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("conf", "data", "train.py", "evaluate.py", "retrieve.py", "serve.py")


class BuildWithConf(build_py):
    """The package, and what it needs that lies beside `src/`; an editable install finds that where it lies."""

    def run(self) -> None:
        """Copy all into the build folder."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "picdesk" / "shipped"
        shutil.rmtree(target, ignore_errors=True)
        for name in SHIPPED:
            source = Path(__file__).resolve().parent / name
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target / name)


setup(cmdclass={"build_py": BuildWithConf})
