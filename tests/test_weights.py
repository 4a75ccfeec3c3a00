import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from picdesk.weights import misfit, unwrap_names, why

OWN = ("visual.conv1.weight", "text.proj", "logit_scale")


@pytest.mark.parametrize("wrapper", ["", "_orig_mod.", "module.", "model.", "module._orig_mod.model.", "my_net."])
def test_wrappers_are_taken_off_where_all_names_share_them(wrapper: str) -> None:
    assert unwrap_names({f"{wrapper}{name}": name for name in OWN}, OWN) == {name: name for name in OWN}


def test_names_of_the_model_itself_are_left_alone() -> None:
    tower = {"visual.conv1.weight": 1, "visual.ln.weight": 2}
    assert unwrap_names(tower, OWN) == tower
    mixed = {"model.visual.conv1.weight": 1, "loss.scale": 2}
    assert unwrap_names(mixed, OWN) == mixed
    twins = {"a._orig_mod.b": 1, "a.b": 2}
    assert unwrap_names(twins, OWN) == twins
    assert unwrap_names({"model": 1}, OWN) == {"model": 1}
    assert unwrap_names({}, OWN) == {}


def test_one_line_counts_names_and_helps() -> None:
    error = misfit("file x", ["d", "c", "b", "a"], [], ["e (1,) for (2,)"], "do this")
    wanted = "file x does not fit: 4 missing keys, for example 'a', 'b', 'c', ...; "
    assert str(error) == wanted + "1 of another shape, for example 'e (1,) for (2,)'; do this"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            {"args": argparse.Namespace(lr=1)},
            "it holds a Python object (argparse.Namespace), and nothing is unpickled here",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", "a Git LFS pointer stands in place of the file"),
        (b"<!doctype html><title>404</title>", "not a file of tensors that torch wrote"),
        (b"", "the file is empty"),
    ],
)
def test_why_a_file_cannot_be_read_never_advises_to_run_it(tmp_path: Path, content: Any, told: str) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(Exception) as error:  # noqa: PT011
        torch.load(path, weights_only=True)
    line = why(error.value, path)
    assert line.startswith(told)
    assert "\n" not in line
    assert "False" not in line


def test_a_torchscript_archive_is_named() -> None:
    text = "Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``. ..."
    assert why(RuntimeError(text)).startswith("a TorchScript archive, which holds code")
    assert why(ValueError()) == "ValueError"
    assert why(ValueError("one\ntwo")) == "one"
