"""Find pictures for texts and texts for a picture: `python retrieve.py "flood warnings" ckpt=latest`."""

import hydra
from omegaconf import DictConfig

from picdesk.pipelines import config  # noqa: F401  (registers the schema)
from picdesk.pipelines.door import job, open_door


@hydra.main(version_base="1.3", config_path="conf", config_name="retrieve")
def main(cfg: DictConfig) -> None:
    """One retrieval job."""
    from picdesk.pipelines.retrieve import run_task

    job(lambda: run_task(cfg))


if __name__ == "__main__":
    open_door(main, takes_text=True)
