"""A door that does nothing: what Hydra itself takes for a job of a sweep. Run by `bench/sweep.py`."""

import hydra
from omegaconf import DictConfig

from picdesk.assembly import schema  # noqa: F401  (registers the schema)


@hydra.main(version_base="1.3", config_path="../conf", config_name="evaluate")
def main(cfg: DictConfig) -> float:
    """Nothing."""
    return 0.0


if __name__ == "__main__":
    main()
