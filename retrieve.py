"""Find pictures for texts and texts for a picture: `python retrieve.py "flood warnings" ckpt=latest`."""

import hydra
from omegaconf import DictConfig

from picdesk.assembly import schema
from picdesk.commands.door import job, open_door


@hydra.main(version_base="1.3", config_path="conf", config_name="retrieve")
def main(cfg: DictConfig) -> None:
    """One retrieval job."""
    from picdesk.assembly.replaced import without_replaced
    from picdesk.tasks.retrieve import run_task

    job(lambda: run_task(without_replaced(cfg, schema.CONF)), cfg)


if __name__ == "__main__":
    open_door(main, takes_text=True)
