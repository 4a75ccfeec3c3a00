"""What an experiment tells a reviewer to set gives the model that it names."""

import re
from pathlib import Path

import open_clip
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from safetensors.torch import save_file

from picdesk.assembly.schema import CONF
from picdesk.backbones.open_clip_files import find, load_tokenizer
from tests.backbones.test_open_clip_files import tokenizer

HINTS = sorted(path.stem for path in (CONF / "experiment" / "reproduce").glob("*.yaml"))
HINT = re.compile(r"give (backbone\.\w+)=(FILE|FOLDER)")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A weights file, and a folder with one and a tokenizer; what is in the weights is not looked at here."""
    folder = tmp_path_factory.mktemp("given")
    tokenizer().save_pretrained(folder)
    file = folder / "open_clip_model.safetensors"
    save_file({"x": torch.zeros(1)}, file)
    return {"FILE": file, "FOLDER": folder}


def test_there_are_hints_to_follow() -> None:
    assert len(HINTS) == 45


@pytest.mark.parametrize("name", HINTS)
def test_following_the_hint_gives_the_model_of_the_experiment(name: str, places: dict[str, Path]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        named = compose("evaluate", overrides=[f"experiment=reproduce/{name}"])
    found = HINT.search(str(named.obtain))
    assert found, named.obtain
    key, what = found.groups()
    cfg = named.copy()
    OmegaConf.update(cfg, key, str(places[what]))  # as a key of the command line, which has to be there too
    backbone = cfg.backbone
    source = find(backbone.model, backbone.pretrained, backbone.weights, backbone.quick_gelu)
    assert source.weights == str(places["FILE"])
    known = open_clip.get_pretrained_cfg(named.backbone.model, named.backbone.pretrained)
    asked = (
        named.backbone.quick_gelu
    )  # system C's numbers were made with the activation that its library took by mistake
    assert source.quick_gelu == (bool(known.get("quick_gelu", False)) if asked is None else asked)
    for setting in ("mean", "std", "interpolation", "resize_mode"):
        assert source.recipe.get(setting) == known.get(setting), setting
    made = load_tokenizer(source)
    text = open_clip.get_model_config(named.backbone.model)["text_cfg"]
    own = bool(text.get("hf_tokenizer_name"))
    assert isinstance(made, HFTokenizer if own else SimpleTokenizer)
    assert made.context_length == text.get("context_length", 77)
    assert made.clean_fn.__name__ == ("_clean_canonicalize" if own else SimpleTokenizer().clean_fn.__name__)


def test_the_way_of_before_dropped_what_the_weights_need(places: dict[str, Path]) -> None:
    """This is why the hints do not name backbone.pretrained."""
    source = find("ViT-B-32", str(places["FILE"]), None, None)
    assert not source.quick_gelu
    assert find("ViT-B-32", "openai", str(places["FILE"]), None).quick_gelu
