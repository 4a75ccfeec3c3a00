"""Find pictures for texts and texts for a picture: `python retrieve.py "flood warnings" ckpt=latest`."""

import hydra
from omegaconf import DictConfig

from picdesk.assembly import schema as schema  # makes the schema known before a config is composed
from picdesk.commands.door import job, open_door


@hydra.main(version_base="1.3", config_path="conf", config_name="retrieve")
def main(cfg: DictConfig) -> float | None:
    """One retrieval job."""
    return job(cfg, "retrieve")


if __name__ == "__main__":
    open_door(main, takes_text=True)
