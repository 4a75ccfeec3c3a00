"""The picture desk as a web page and an API: `python serve.py ckpt=latest`, then http://127.0.0.1:8000."""

import hydra
from omegaconf import DictConfig

from picdesk.assembly import schema as schema  # makes the schema known before a config is composed
from picdesk.commands.door import job, open_door


@hydra.main(version_base="1.3", config_path="conf", config_name="serve")
def main(cfg: DictConfig) -> float | None:
    """Answer until a signal asks for the end."""
    return job(cfg, "serve")


if __name__ == "__main__":
    open_door(main)
