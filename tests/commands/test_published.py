"""`picdesk published` lists every published number, and what is missing for it here."""

from pathlib import Path

import pytest

from picdesk.backbones.open_clip import size_of
from picdesk.commands.published import main, names_of_all


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
