"""What a config may name: the parts of the project by their own names, a few foreign classes, and what a user admits."""

import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import picdesk
from picdesk.assembly.allowed import FOREIGN, FORMER, SHOWN_BY, class_of
from picdesk.assembly.build import DO, build, check_all
from picdesk.errors import ConfigError
from picdesk.parts import PARTS, config_part

CONF = Path(__file__).resolve().parents[2] / "conf"
BY_HYDRA = {"picdesk.sweeps.callbacks.Leaderboard", "picdesk.sweeps.study.Study"}
MARGIN = "picdesk.training.losses.Margin"


def named_in_conf() -> set[str]:
    texts = [path.read_text() for path in CONF.rglob("*.yaml")]
    return {name for text in texts for name in re.findall(r"_target_: *(\S+)", text)} - BY_HYDRA


def test_every_target_of_conf_is_on_the_list_and_nothing_else_is() -> None:
    for module in pkgutil.walk_packages(picdesk.__path__, "picdesk."):
        if module.name not in ("picdesk.commands.store", "picdesk.commands.pack", "picdesk.commands.check_submission"):
            importlib.import_module(module.name)
    targets = named_in_conf()
    assert len(targets) > 60
    classes = {class_of(target, "x") for target in targets}
    foreign = {class_of(target, "x") for target in FOREIGN}
    assert classes == set(PARTS.values()) | foreign
    assert {target for target in targets if not target.startswith("picdesk.")} == set(FOREIGN)
    readers = {
        kind for kind in PARTS.values() if kind.__module__.startswith("picdesk.readers.") and hasattr(kind, "read")
    }
    by_name = {target for target in targets if target.rpartition(".")[0] in SHOWN_BY}
    assert {class_of(target, "x") for target in by_name} == readers
    assert {class_of(old, "x") for old in FORMER} <= classes


REFUSED = {
    "a function of ours": "picdesk.files.write_text",
    "a class of ours that is no part": "picdesk.embedding.store.Store",
    "an error of ours": "picdesk.errors.ConfigError",
    "a module that one of ours has imported": "picdesk.embedding.encoder.os.system",
    "a class that one of ours has imported": "picdesk.jobs.archive.Path",
    "a part by another module": "picdesk.tasks.write_captions.Margin",
    "a part by the module that shows it": "picdesk.training.fit.Contrastive",
    "a method of a part": f"{MARGIN}.forward",
    "an attribute of a part": f"{MARGIN}.__init__",
    "a module": "picdesk.training.losses",
    "nothing": "",
    "one word": "eval",
    "a builtin": "builtins.eval",
    "a foreign function": "os.system",
    "a foreign class": "subprocess.Popen",
    "a neighbour of a foreign class": "torch.optim.SGD",
    "the long path of a foreign class": "torch.optim.adamw.AdamW",
    "a reader by the module that defines it, one letter off": "picdesk.readers.tables.csv",
    "an object of the module": "picdesk.parts.PARTS.clear",
    "blanks": f" {MARGIN}",
    "a line break": f"{MARGIN}\nos.system",
    "letters of another alphabet": "рicdesk.training.losses.Margin",
}


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_else_is_built(what: str) -> None:
    with pytest.raises(ConfigError, match="_target_"):
        class_of(REFUSED[what], "loss")


@pytest.mark.parametrize("target", [None, 3, ["os.system"], {"_target_": MARGIN}])
def test_a_target_is_a_text(target: object) -> None:
    with pytest.raises(ConfigError, match="not the name of a class"):
        class_of(target, "loss")


def test_a_class_that_calls_itself_a_part_is_not_the_part() -> None:
    """The object decides, not what it says of itself."""
    from picdesk.training import losses

    own = losses.Margin
    fake = type("Margin", (), {"__module__": own.__module__})
    losses.Margin = fake  # type: ignore[misc, assignment]
    try:
        with pytest.raises(ConfigError, match="no part of picdesk"):
            class_of(MARGIN, "loss")
    finally:
        losses.Margin = own  # type: ignore[misc]


HARM = {"_target_": "pathlib.Path", "_args_": ["x"]}
PLACES = {
    "in a table": {"loss": {"_target_": MARGIN, "margin": {"deep": HARM}}},
    "in a list": {"loss": {"_target_": "picdesk.training.losses.Mixture", "parts": [HARM], "weights": [1.0]}},
    "in a list of lists": {"loss": {"a": [[{"b": [HARM]}]]}},
    "in a node that an interpolation brings": {"loss": {"_target_": MARGIN, "margin": "${more.there}"}},
    "a target that an interpolation spells": {"loss": {"_target_": "${more.package}.system"}},
    "a whole node by an interpolation": {"loss": "${more.there}"},
}


@pytest.mark.parametrize("where", PLACES)
def test_what_is_built_is_checked_wherever_it_stands(where: str) -> None:
    cfg = OmegaConf.create(PLACES[where] | {"more": {"there": HARM, "package": "os"}})
    with pytest.raises(ConfigError, match="_target_"):
        build(cfg, "loss")
    with pytest.raises(ConfigError, match="_target_"):
        check_all(cfg, training=True)


WORDS = {
    "_args_": [0.3],
    "_convert_": "none",
    "_recursive_": False,
    "_partial_": "yes",
    "_mode_": "x",
    "__class__": "x",
}


@pytest.mark.parametrize("word", WORDS)
def test_words_of_hydra_give_no_order(word: str) -> None:
    cfg = OmegaConf.create({"loss": {"_target_": MARGIN, word: WORDS[word]}})
    with pytest.raises(ConfigError, match=word):
        build(cfg, "loss")


@pytest.mark.parametrize("group", DO)
@pytest.mark.parametrize(
    "node",
    [{}, {"a": 1}, {"_target_": "picdesk.data.picture_readers.None"}, {"_target_": "picdesk.report.loggers.NoLogger"}],
)
def test_a_group_takes_no_class_of_another(group: str, node: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"^{group}[:.].*--help lists"):
        build(OmegaConf.create({group: node}), group)


def test_nothing_but_what_the_fit_finishes_is_left_unfinished() -> None:
    cfg = OmegaConf.create({"loss": {"_target_": MARGIN, "_partial_": True}})
    with pytest.raises(ConfigError, match=r"loss\._partial_=true: that is for optimizer and scheduler"):
        build(cfg, "loss")


def test_a_value_is_never_read_as_an_interpolation_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "told")
    parts = {"a": "$", "b": "{oc.env:A_SECRET}"}
    cfg = OmegaConf.create({"prompt": {"_target_": "picdesk.data.prompts.Field", "field": "${a}${b}"}} | parts)
    assert build(cfg, "prompt").field == "${oc.env:A_SECRET}"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package out of the tree with a loss of its own, which it shows at its top."""
    folder = tmp_path / "laboratory"
    folder.mkdir()
    (folder / "losses.py").write_text(
        "import os\nfrom picdesk.training.losses import Margin\n\n\n"
        "class Wide(Margin):\n    def __init__(self) -> None:\n        super().__init__(margin=0.7)\n\n\n"
        "def harm() -> None:\n    os.abort()\n"
    )
    (folder / "__init__.py").write_text("from laboratory.losses import Wide, Margin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "laboratory"  # type: ignore[misc]
    for name in [name for name in sys.modules if name.split(".")[0] == "laboratory"]:
        del sys.modules[name]


@pytest.mark.parametrize("path", ["laboratory.losses.Wide", "laboratory.Wide"])
def test_a_plug_in_admits_the_classes_that_it_defines(lab: str, path: str) -> None:
    cfg = OmegaConf.create({"loss": {"_target_": path}, "plugins": [lab]})
    check_all(cfg, training=True)
    assert build(cfg, "loss").margin == 0.7


def test_without_it_the_job_says_what_it_needs(lab: str) -> None:
    cfg = OmegaConf.create({"loss": {"_target_": "laboratory.losses.Wide"}, "plugins": []})
    with pytest.raises(ConfigError, match=r"loss._target_=laboratory.losses.Wide: .*plugins=\[laboratory\]"):
        build(cfg, "loss")
    assert "laboratory" not in sys.modules, "it is not even imported"


@pytest.mark.parametrize("path", ["laboratory.losses.harm", "laboratory.Margin", "laboratory.losses.os.abort"])
def test_a_plug_in_admits_nothing_but_its_own_classes(lab: str, path: str) -> None:
    with pytest.raises(ConfigError, match="_target_"):
        class_of(path, "loss", [lab])


@pytest.mark.parametrize("package", ["os", "subprocess", "picdesk", "picdesk.training", "a b", "", 3, "../x"])
def test_no_plug_in_opens_everything(package: object) -> None:
    with pytest.raises(ConfigError, match="plugins="):
        class_of("laboratory.losses.Wide", "loss", [package])  # type: ignore[list-item]


def test_a_subclass_of_a_part_is_no_part_by_itself() -> None:
    base = config_part(type("Base", (), {"__module__": "picdesk.nowhere"}))
    try:
        assert type("Below", (base,), {}) not in PARTS.values()
    finally:
        del PARTS["picdesk.nowhere.Base"]


FOLDER = "picdesk.readers.Folder"
KINDS = {
    "a list for a text": ("data", {"_target_": FOLDER, "root": [1, 2]}, "data.root=.*a list, where a text belongs"),
    "a table for a text": ("data", {"_target_": FOLDER, "root": {"a": 1}}, "a table, where a text belongs"),
    "nothing for a text": ("data", {"_target_": FOLDER, "root": None}, "nothing, where a text belongs"),
    "a text for a number": (
        "loss",
        {"_target_": MARGIN, "margin": "wide"},
        "loss: .*Margin does not take these values",
    ),
    "a text for a list of numbers": (
        "loss",
        {"_target_": "picdesk.training.losses.Mixture", "parts": [], "weights": "half"},
        "loss",
    ),
    "a list for a number": ("loss", {"_target_": MARGIN, "margin": [0.2]}, "loss: .*Margin does not take these values"),
}


@pytest.mark.parametrize("what", KINDS)
def test_values_are_of_the_kind_that_the_class_takes(what: str) -> None:
    key, node, said = KINDS[what]
    with pytest.raises(ConfigError, match=said):
        build(OmegaConf.create({key: node}), key)


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ({"_target_": "picdesk.rerankers.lexical.Lexical", "fields": "title"}, "fields"),
        ({"_target_": "picdesk.tasks.index_jobs.RemoveItems", "name": "a", "door": "b", "ids": "title"}, "ids"),
        ({"_target_": "picdesk.tasks.retrieve.Retrieve", "name": "a", "door": "b", "also": "title"}, "also"),
        ({"_target_": "picdesk.tasks.serve.Serve", "name": "a", "door": "b", "hosts": "title"}, "hosts"),
    ],
)
def test_a_name_alone_is_a_list_of_one(node: dict[str, object], name: str) -> None:
    assert list(getattr(build(OmegaConf.create({"part": node}), "part"), name)) == ["title"]


def test_a_text_stays_one_where_a_text_or_a_list_is_taken() -> None:
    node = {"_target_": "picdesk.backbones.lite.Lite", "image_trunk": "nothing like it"}
    with pytest.raises(ConfigError, match="nothing like it"):
        build(OmegaConf.create({"backbone": node}), "backbone")
