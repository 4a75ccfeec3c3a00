"""Every experiment goes with every option of every part: what it meant for another option is left out, and that is said."""

import logging
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly import schema
from picdesk.assembly.build import check_all
from picdesk.assembly.replaced import without_replaced

EXPERIMENTS = sorted(
    path.relative_to(schema.CONF / "experiment").with_suffix("").as_posix()
    for path in (schema.CONF / "experiment").rglob("*.yaml")
)
SPLITS = sorted(path.stem for path in (schema.CONF / "split").glob("*.yaml"))
OTHERS = (
    "callbacks=default",
    "scheduler=constant",
    "loss=siglip",
    "loss=margin",
    "loss=mixture",
    "adaptation=full",
    "trainer=ddp",
    "backbone=lite",
    "index=hnsw",
    "prompt=title",
)


@pytest.fixture(autouse=True)
def composer() -> Iterator[None]:
    schema.register()
    before = HydraConfig.instance().cfg
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        yield
    HydraConfig.instance().cfg = before  # or whatever asks Hydra next, in another test, is told of the last config here


def compose_config(*overrides: str, door: str = "train") -> DictConfig:
    """The config as a door sees it."""
    cfg = compose(door, overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        cfg.pop("hydra")
    return without_replaced(cfg)


IN_FOLDERS = [name for name in EXPERIMENTS if "/" in name]
FIRST = [
    next(name for name in IN_FOLDERS if name.startswith(f"{folder}/"))
    for folder in sorted({n.split("/")[0] for n in IN_FOLDERS})
]


def what_it_says_of_the_split(experiment: str) -> tuple[str, ...]:
    """The option and the keys of the split in an experiment's file."""
    file = OmegaConf.load(schema.CONF / "experiment" / f"{experiment}.yaml")
    named = [str(value) for entry in file.get("defaults", ()) for key, value in entry.items() if "split" in key]
    return (*named, *sorted(file.get("split", ())))


def one_of_each_kind() -> list[str]:
    """Of the experiments that say the same of the split, one; whatever else they say is left as it is by `without_replaced`."""
    return list({what_it_says_of_the_split(name): name for name in EXPERIMENTS if "/" not in name}.values())


def check_with_every_split(experiment: str, door: str) -> None:
    for split in SPLITS:
        file = ("split.file=parts.csv",) if split == "file" else ()
        check_all(compose_config(f"experiment={experiment}", f"split={split}", *file, door=door))


@pytest.mark.parametrize("experiment", one_of_each_kind())
def test_every_kind_of_experiment_composes_with_every_split(experiment: str) -> None:
    check_with_every_split(experiment, "train")


@pytest.mark.parametrize("experiment", FIRST)
@pytest.mark.parametrize("door", ["train", "evaluate"])
def test_one_experiment_of_each_folder_composes_with_every_split(experiment: str, door: str) -> None:
    assert len(FIRST) >= 3
    check_with_every_split(experiment, door)


def doors_of(experiment: str) -> tuple[str, ...]:
    """The doors that an experiment is for: one that sets something of a run to hand in is for retrieve.py alone."""
    file = OmegaConf.load(schema.CONF / "experiment" / f"{experiment}.yaml")
    return ("retrieve",) if "submission" in file.get("task", {}) else ("train", "evaluate")


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "door"), [(name, door) for name in EXPERIMENTS for door in doors_of(name)])
def test_every_experiment_of_any_folder_composes_with_every_split(experiment: str, door: str) -> None:
    check_with_every_split(experiment, door)


def test_what_asks_hydra_next_is_not_told_of_these_configs() -> None:
    """The tests before this one have set one."""
    assert not HydraConfig.initialized()


@pytest.mark.parametrize("override", OTHERS)
def test_a_recipe_composes_with_other_options(override: str) -> None:
    for experiment in ("finetune_flickr8k_best", "finetune_newsimages"):
        check_all(compose_config(f"experiment={experiment}", override))


def test_what_goes_is_said_and_what_is_typed_stays(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        cfg = compose_config("experiment=finetune_flickr8k_best", "split=official")
    assert "split.seed" in caplog.text
    assert "seed" not in cfg.split
    assert compose_config("experiment=finetune_flickr8k_best", "split=official", "split.seed=3").split.seed == 3
    assert compose_config("experiment=finetune_flickr8k_best", "split=random_80_10_10").split.seed == 0
    assert compose_config("experiment=finetune_flickr8k_best").split.seed == 0
