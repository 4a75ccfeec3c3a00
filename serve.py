"""The picture desk as a web page and an API: `python serve.py ckpt=latest`, then http://127.0.0.1:8000."""

import hydra
from omegaconf import DictConfig

from picdesk.assembly import schema
from picdesk.commands.door import job, open_door


@hydra.main(version_base="1.3", config_path="conf", config_name="serve")
def main(cfg: DictConfig) -> None:
    """Answer until a signal asks for the end."""
    from picdesk.assembly.opening import Source
    from picdesk.assembly.replaced import without_replaced
    from picdesk.serving.process import serve

    job(lambda: serve(Source(without_replaced(cfg, schema.CONF))), cfg)


if __name__ == "__main__":
    open_door(main)
