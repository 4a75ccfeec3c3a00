"""Fit a backbone's heads and evaluate what was fitted: `python train.py experiment=flickr8k_lite`."""

import hydra
from omegaconf import DictConfig

from picdesk.assembly import schema
from picdesk.commands.door import job, open_door


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float:
    """One training job; the objective for a sweep is the best mean hits@1 on validation data."""
    from picdesk.assembly.replaced import without_replaced
    from picdesk.tasks.train import train

    return job(lambda: train(without_replaced(cfg, schema.CONF)), cfg)


if __name__ == "__main__":
    open_door(main)
