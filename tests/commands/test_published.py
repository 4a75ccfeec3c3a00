"""`picdesk published` lists every published number, and what is missing for it here; what each tells a reviewer to set gives the
model that it names. Both compose every such experiment, which is quick a second time."""

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
from picdesk.backbones.open_clip import size_of
from picdesk.backbones.open_clip_files import find, load_tokenizer
from picdesk.commands.published import main, names_of_all
from tests.backbones.test_open_clip_files import tokenizer

HINT = re.compile(r"give (backbone\.\w+)=(FILE|FOLDER)")


def test_all_are_listed_with_what_is_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--set", f"paths.data_root={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert len(names_of_all()) >= 22
    assert f"0 of {len(names_of_all())} can be checked here" in said
    assert "missing: the folder of the data set" in " ".join(said.split())


@pytest.mark.parametrize(
    ("name", "size"),
    [("coco_vit_b32_o", "6.0 GB"), ("flickr30k_vit_b32_o", "4.4 GB"), ("flickr8k_vit_b32_o", "1.1 GB")],
)
def test_a_missing_folder_says_how_large_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, size: str
) -> None:
    assert main([name, "--set", f"paths.data_root={tmp_path}"]) == 0
    assert size in " ".join(capsys.readouterr().out.split())


def test_some_by_a_word_and_none_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flickr30k_vit_b32"]) == 0
    assert "coco" not in capsys.readouterr().out
    assert main(["no such number"]) == 2
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 1
    assert "no published number is named" in told


@pytest.mark.parametrize(("model", "weights"), [("ViT-B-32", 151_277_313), ("ViT-B-16-SigLIP", 203_155_970)])
def test_a_model_is_counted_without_being_filled(model: str, weights: int) -> None:
    assert size_of(model) == 4 * weights


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A weights file, and a folder with one and a tokenizer; what is in the weights is not looked at here."""
    folder = tmp_path_factory.mktemp("given")
    tokenizer().save_pretrained(folder)
    file = folder / "open_clip_model.safetensors"
    save_file({"x": torch.zeros(1)}, file)
    return {"FILE": file, "FOLDER": folder}


def test_there_are_hints_to_follow() -> None:
    assert len(names_of_all()) == 45


@pytest.mark.parametrize("name", names_of_all())
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
