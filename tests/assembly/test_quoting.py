"""Names of files and free texts come through as they are typed, under every key of the config that means one."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from picdesk.assembly.command_line import door_arguments
from picdesk.assembly.quoting import is_name, quoted_override
from picdesk.assembly.schema import CONF
from picdesk.errors import ConfigError

TYPED = (
    *(
        "/my (old), runs",
        "/it's here",
        "/a (b)",
        "/a (b).csv",
        "/a, b.csv",
        "it's.trec",
        "/a,b",
        "2024",
        "1e5",
        "true",
        "/图片",
    ),
    *(
        "/a=b",
        "/[x",
        "[x",
        "a: b",
        " led by a space",
        "50% off",
        "choice(a,b)",
        "it's, again",
        "back\\slash\\",
        "/a\\'b",
    ),
)
WORDS = {
    *(
        "_target_",
        "door",
        "accelerator",
        "process_group_backend",
        "monitor",
        "mode",
        "device",
        "dtype",
        "towers",
        "reduction",
    ),
    *(
        "bank",
        "pooling",
        "score",
        "language",
        "embeddings",
        "normalisation",
        "metric",
        "rule",
        "part",
        "gallery",
        "find",
        "form",
    ),
    *(
        "crop",
        "size",
        "edition",
        "host",
        "category",
        "version",
        "restval",
        "records",
        "quoting",
        "encoding",
        "delimiter",
        "use",
    ),
    *(
        "kind",
        "refine",
        "factory",
        "collection",
        "table",
        "token",
        "base_url",
        "key_variable",
        "tag_separators",
        "caption_ending",
    ),
    *("caption_suffix", "json_ending", "image_trunk", "text_trunk", "pretrained", "field", "document_picture"),
}
"""Last parts of keys whose value is one of a few words, an address or a name without spaces: no files, no sentences."""
NUMBERS = {
    *("bias", "dim", "first_token", "image_width", "text_width", "text_hidden", "logit_scale", "lists", "max_captions"),
    *("max_tokens", "quick_gelu", "steps", "expect_queries", "top_k", "seed", "max_bad_fraction"),
}
"""Last parts of keys of numbers, with `null` or another key's value in the config."""
OBJECTS = {"backbone", "language_model", "writer", "text_encoder", "words"}
"""Last parts of keys of whole parts, and of lists."""
NOT_TYPED = {"paths.project", "paths.output_dir", "logger.save_dir", "task.name"}


def leaves(node: Any, place: tuple[str, ...]) -> Iterator[str]:
    """The keys of a node's texts, and of what is null or must be given."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, (*place, str(key)))
        elif value is None or isinstance(value, str):
            yield ".".join((*place, str(key)))


@functools.cache
def keys() -> list[str]:
    """Every key of every option whose value is a text, null or open."""
    found = set()
    for path in CONF.rglob("*.yaml"):
        group = path.relative_to(CONF).parts[0]
        if path.parent != CONF and group not in ("experiment", "hydra", "hparams_search"):
            node = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
            assert isinstance(node, dict)
            found.update(leaves({k: v for k, v in node.items() if k != "defaults"}, (group,)))
    return sorted(found)


def is_other(key: str) -> bool:
    return key.rpartition(".")[2] in WORDS | NUMBERS | OBJECTS or key in NOT_TYPED


def value_of(argument: str) -> object:
    """What Hydra and OmegaConf make of the value of one argument."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert not override.is_sweep_override(), argument
    made = OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create({"it": override.value()})))
    return OmegaConf.to_container(made, resolve=True)["it"]  # type: ignore[call-overload,index]


NAMED = [key for key in keys() if not is_other(key)]
TOP = (
    "ckpt",
    "filter",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "data.qrels",
    "data.more_columns.credit",
    "reranker.parts.lexical.file",
)


def test_every_key_is_of_a_kind() -> None:
    """A key that is new is a name, or is written down here as none."""
    assert len(NAMED) > 70
    assert [key for key in NAMED if not (is_name(key) or key in ("task.query", "backbone.prompts.query"))] == []


@pytest.mark.parametrize("key", [*NAMED, *TOP])
def test_names_and_texts_come_through(key: str) -> None:
    for text in TYPED:
        for typed in {key, key.removeprefix("task.")}:
            (argument,) = door_arguments([f"{typed}={text}"])
            assert value_of(argument) == text, argument


@pytest.mark.parametrize("key", [key for key in keys() if "." in key and key.rpartition(".")[2] in WORDS])
def test_no_other_key_is_an_error_of_the_grammar(key: str) -> None:
    for text in ("/it's here", "/a (b)", "Möwe, blau", "/图片"):
        assert value_of(quoted_override(f"{key}={text}", sweep=False)) == text


@pytest.mark.parametrize(
    "typed",
    [
        *(
            "top_k=5",
            "loss.weights=[1.0,0.1]",
            "adaptation.head=true",
            "loss.margin=0.1,0.2",
            "data=csv,folder",
            "seed=choice(1,2)",
        ),
        *(
            "data.root=${paths.data_root}/x",
            "reranker.file=null",
            "index.params={a:1}",
            "backbone/head@backbone.image_head=mlp",
        ),
        *("loss.margin=0.1, 0.2", "reranker.use=[captions,itm", "metrics.names=[hits]", "data.captions={train:a.gz}"),
    ],
)
def test_what_is_for_hydra_is_left_to_it(typed: str) -> None:
    assert quoted_override(typed, sweep=False).lstrip("+") == typed


def test_a_sweep_over_files_stays_one() -> None:
    assert quoted_override("ckpt=a,b", sweep=True) == "ckpt=a,b"
    assert value_of(quoted_override("ckpt=/it's", sweep=True)) == "/it's"


@pytest.mark.parametrize(
    ("typed", "texts"),
    [
        ("['it''s night']", ["it's night"]),
        ("['it\\'s night',\"a, b\"]", ["it's night", "a, b"]),
        ("[it's night, image:/a (b).jpg]", ["it's night", "image:/a (b).jpg"]),
        ("it's night, and cold", ["it's night, and cold"]),
        ("['-0.5:night','2:image:dog.jpg']", ["-0.5:night", "2:image:dog.jpg"]),
        ("[2024]", ["2024"]),
        ("ab", ["ab"]),
        ("[1.10,1_000,1e3,true,null]", ["1.10", "1_000", "1e3", "true", "null"]),
        ("['一只狗, 海']", ["一只狗, 海"]),
        ("[]", []),
    ],
)
def test_a_list_of_texts(typed: str, texts: list[str]) -> None:
    for key in ("also", "task.also", "retrieve.also", "ids", "index_remove.ids"):
        (argument,) = door_arguments([f"{key}={typed}"], True)
        assert value_of(argument) == texts


@pytest.mark.parametrize(
    "key",
    [
        "reranker.fields",
        "reranker.parts.lexical.fields",
        "metrics.names",
        "index.words",
        "data.suffixes",
        "hosts",
        "plugins",
    ],
)
def test_a_list_of_names(key: str) -> None:
    for typed, names in (
        ("title", ["title"]),
        ("2024", ["2024"]),
        ("it's", ["it's"]),
        ("[title,1.10,true]", ["title", "1.10", "true"]),
        ("['a, b',c]", ["a, b", "c"]),
        ("[]", []),
    ):
        assert value_of(quoted_override(f"{key}={typed}", sweep=False)) == names
    for typed in ("[title],[credit]", "title,credit", "null", "extend_list(title)"):
        assert quoted_override(f"{key}={typed}", sweep=True) == f"{key}={typed}"


WRITTEN = ("paths.outputs", "paths.store", "hydra.run.dir", "hydra.sweep.dir")


@pytest.mark.parametrize("key", WRITTEN)
def test_a_folder_that_hydra_makes_may_begin_with_the_home_folder(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder named `~` is made where the job began."""
    monkeypatch.setenv("HOME", "/home/ann")
    assert quoted_override(f"{key}=~/runs", sweep=False) == f"{key}=/home/ann/runs"


@pytest.mark.parametrize("key", WRITTEN)
@pytest.mark.parametrize("value", ["", "null", "''", " "])
def test_a_folder_that_hydra_makes_has_a_name(key: str, value: str) -> None:
    """`paths.outputs=$UNSET` made `/evaluate` at the root of the disk."""
    with pytest.raises(ConfigError, match=f"{key}={value}: a folder is wanted"):
        quoted_override(f"{key}={value}", sweep=False)


@pytest.mark.parametrize(
    ("given", "found"), [("", "outputs"), ("  ", "outputs"), ("~/runs", "/home/ann/runs"), ("/srv/a b", "/srv/a b")]
)
def test_an_empty_variable_is_none_and_a_home_folder_is_written_out(
    given: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("PICDESK_OUTPUTS", given)
    cfg = OmegaConf.load(CONF / "paths" / "default.yaml")
    assert (cfg.outputs, cfg.store) == (found, f"{found}/store")
    monkeypatch.delenv("PICDESK_OUTPUTS")
    assert cfg.outputs == "outputs"
