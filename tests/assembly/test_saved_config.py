"""What of a config that somebody else wrote is taken, and what is not."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from picdesk import marks
from picdesk.assembly import saved_text, schema
from picdesk.assembly.saved_config import may_be_repeated, read_saved
from picdesk.assembly.saved_limits import OPEN, select
from picdesk.assembly.saved_text import parse_values, read_overrides, read_values
from picdesk.assembly.session import Session
from picdesk.errors import DataError, MissingFileError

CONF = Path(__file__).resolve().parents[2] / "conf"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def composed() -> DictConfig:
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("evaluate", overrides=["reranker=vlm_judge", "data=newsimages"])


@pytest.fixture
def here(tmp_path: Path, composed: DictConfig) -> DictConfig:
    """This command's own config; the user's data lies in `data` of the test's folder."""
    (tmp_path / "data").mkdir()
    own = composed.copy()
    own.paths.data_root, own.paths.outputs = str(tmp_path / "data"), str(tmp_path / "out")
    return own


def save_changed(folder: Path, here: DictConfig, change: Change | None = None, sign: bool = False) -> Path:
    """A job's config as somebody else would send it, changed; `sign`: as this user's picdesk would have written it."""
    cfg = OmegaConf.to_container(here, resolve=False)
    assert isinstance(cfg, dict)
    if change:
        change(cfg)  # type: ignore[arg-type]
    path = folder / "job" / "config.yaml"
    path.parent.mkdir(exist_ok=True)
    text = OmegaConf.to_yaml(OmegaConf.create(cfg), resolve=False)
    path.write_text(marks.sign(text) if sign else text)
    return path


def put(key: str, value: object) -> Change:
    """Set a dotted key."""

    def change(cfg: dict[str, Any]) -> None:
        *way, last = key.split(".")
        for name in way:
            cfg = cfg.setdefault(name, {})
        cfg[last] = value

    return change


def test_a_config_comes_back_as_it_was(tmp_path: Path, here: DictConfig, caplog: pytest.LogCaptureFixture) -> None:
    Session(here).write_config(tmp_path / "config.yaml")
    with caplog.at_level(logging.WARNING):
        assert read_saved(tmp_path / "config.yaml", here) == here
    assert not caplog.records


NEVER = {
    "code out of a folder": ("backbone.allow_code", True, False),
    "code by another name": ("backbone.trust_remote_code", True, False),
    "an address": ("language_model.base_url", "http://203.0.113.5/v1", None),
    "an address in a reranker of several": (
        "reranker.parts.judge.language_model.base_url",
        "https://x.example/v1",
        None,
    ),
    "the name of a variable": ("language_model.key_variable", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"),
    "a token": ("index.token", "abc", None),
    "a server": ("index.uri", "http://203.0.113.5:19530", OPEN),
    "a file that is written": ("index.uri", "/etc/cron.d/x.db", OPEN),
    "a folder that is written": ("language_model.answers", "/srv/answers", "out/store/answers"),
    "where the trainer writes": ("trainer.default_root_dir", "/srv", None),
    "an address where a file belongs": ("data.file", "https://x.example/a.csv", OPEN),
    "an address in a list": ("data.lists", ["ftp://x.example/a"], [OPEN]),
    "an address by an interpolation": ("language_model.base_url", "${expected.a}", None),
    "where an index is written": ("save_index", "/srv/index", None),
    "another job": ("resume", "/srv/job", None),
    "a submission": ("submission.group", "x", None),
}


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize("what", NEVER)
def test_it_never_decides(tmp_path: Path, here: DictConfig, what: str, sign: bool) -> None:
    key, value, wanted = NEVER[what]

    def change(cfg: dict[str, Any]) -> None:
        put("expected.a", "http://203.0.113.5/v1")(cfg)
        put(key, value)(cfg)

    found = select(read_saved(save_changed(tmp_path, here, change, sign), here), key)
    assert str(found).endswith(str(wanted)) if isinstance(wanted, str) else found == wanted


def test_what_is_left_out_is_said_in_one_line(
    tmp_path: Path, here: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_changed(tmp_path, here, put("language_model.base_url", "http://203.0.113.5/v1"))
    read_saved(path, here)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "language_model.base_url" in said
    assert "give again on the command line" in said
    assert "203.0.113.5" not in said


def test_the_command_line_gives_it_again(tmp_path: Path, here: DictConfig) -> None:
    path = save_changed(tmp_path, here, put("language_model.base_url", "http://203.0.113.5/v1"))
    here.language_model.base_url = "https://mine.example/v1"
    assert read_saved(path, here).language_model.base_url == "https://mine.example/v1"


def test_a_table_that_a_reranker_names_is_held_against_the_commands_own(
    tmp_path: Path, here: DictConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """The command that reads it may have chosen no reranker, and has the language model at its own place all the same."""
    path = save_changed(tmp_path, here, put("language_model.base_url", "http://203.0.113.5/v1"))
    here.reranker = {"_target_": "picdesk.rerankers.identity.Identity"}
    found = read_saved(path, here)
    assert found.reranker.language_model.answers == here.language_model.answers
    assert found.reranker.language_model.key_variable == "OPENAI_API_KEY"
    assert "base_url" not in found.language_model
    (said,) = [record.getMessage() for record in caplog.records]
    assert "not taken from a saved config: language_model.base_url; give again" in said


def test_groups_of_this_machine_are_its_own(tmp_path: Path, here: DictConfig) -> None:
    def change(cfg: dict[str, Any]) -> None:
        cfg["paths"] = {"store": "/srv/${oc.env:HOME}", "outputs": "/srv", "data_root": "/etc", "project": "/"}
        cfg["logger"] = {"_target_": "os.system", "command": "x"}
        cfg["hydra"] = {"launcher": {"_target_": "os.system"}}
        cfg["plugins"], cfg["network"] = ["evil"], True

    cfg = read_saved(save_changed(tmp_path, here, change), here)
    assert (cfg.paths, cfg.logger, cfg.plugins, cfg.network) == (here.paths, here.logger, [], None)
    assert "hydra" not in cfg


OUTSIDE = {
    "an absolute folder": ("data.root", "/etc"),
    "the home": ("data.root", "~"),
    "somebody's home": ("data.root", "~root/x"),
    "up from the data": ("data.file", "../../secret.csv"),
    "up in the middle": ("data.folder", "a/../../../b"),
    "a pattern that climbs": ("data.shards", "{..,x}/secret.tar"),
    "a pattern with a root in it": ("data.shards", "{/etc/a,b}"),
    "an absolute list": ("data.lists", {"train": "/etc/passwd"}),
    "in a list": ("data.lists", [["/etc/passwd"]]),
    "weights": ("backbone.weights", "/srv/w.pt"),
    "a reranker's file": ("reranker.file", "/srv/captions.json"),
    "a run": ("task.run_file", "/srv/run.trec"),
    "the checkpoint": ("ckpt", "/srv/model.safetensors"),
    "joined by interpolations": ("data.root", "${expected.nothing}/etc"),
    "by the text of another key": ("data.root", "${source}"),
    "of another system": ("data.root", "C:\\Users"),
    "under any other name": ("backbone.whatever", "/srv/x"),
    "deep under any other name": ("fusion.any.thing", [{"x": ["~/x"]}]),
    "behind a word that libraries know": ("backbone.model", "local-dir:/srv/x"),
    "as an address of a file": ("fusion.any", "file:/srv/x"),
    "in a text, where such a file is": ("prompt.template", str(Path(__file__).resolve())),
    "in a table that another place names": ("fusion.by_name.file", "/srv/x"),
    "below a root that nobody reads by": ("fusion.parts.it.file", "pyproject.toml"),
    "by its ending": ("fusion.parts.it.odd", "pyproject.toml"),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_paths_lead_into_the_job_or_into_ones_own_data(tmp_path: Path, here: DictConfig, what: str) -> None:
    key, value = OUTSIDE[what]

    def change(cfg: dict[str, Any]) -> None:
        put("expected.nothing", "")(cfg)
        cfg["source"] = "/etc"
        put("fusion.parts.root", str(tmp_path / "data"))(cfg)
        if "by_name" in key:
            cfg["protocol"] = {"file": value}
            put("fusion.by_name", "${protocol}")(cfg)
        else:
            put(key, value)(cfg)

    def all_open(found: object) -> bool:
        inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else None
        return found == OPEN if inner is None else all(all_open(item) for item in inner)

    foreign = read_saved(save_changed(tmp_path, here, change), here)
    assert all_open(select(foreign, key)), select(foreign, key)
    own = read_saved(save_changed(tmp_path, here, change, sign=True), here)
    assert not all_open(select(own, key)), "a job of one's own says where its data lies"


def test_paths_that_stay_inside_are_taken(tmp_path: Path, here: DictConfig) -> None:
    def change(cfg: dict[str, Any]) -> None:
        put("data.root", str(tmp_path / "data" / "news"))(cfg)
        put("data.file", "a/../b.csv")(cfg)
        put("split.file", str(tmp_path / "job" / "split.csv"))(cfg)
        put("backbone.model", "openai/clip-vit-base-patch32")(cfg)
        put("prompt.template", "/{title}/ a ../ b")(cfg)

    cfg = read_saved(save_changed(tmp_path, here, change), here)
    assert cfg.data.root == str(tmp_path / "data" / "news")
    assert (cfg.data.file, cfg.backbone.model) == ("a/../b.csv", "openai/clip-vit-base-patch32")
    assert cfg.split.file == str(tmp_path / "job" / "split.csv")
    assert cfg.prompt.template == "/{title}/ a ../ b"


def test_a_link_in_the_job_leads_nowhere(tmp_path: Path, here: DictConfig) -> None:
    path = save_changed(tmp_path, here, put("data.root", str(tmp_path / "job" / "inside")))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "job" / "inside").symlink_to(tmp_path / "elsewhere")
    assert select(read_saved(path, here), "data.root") == OPEN


def test_a_link_below_a_folder_of_the_job_leads_nowhere(tmp_path: Path, here: DictConfig) -> None:
    path = save_changed(tmp_path, here, put("data.root", str(tmp_path / "job" / "inside")))
    (tmp_path / "job" / "inside").mkdir()
    (tmp_path / "job" / "inside" / "a.csv").write_text("")
    assert select(read_saved(path, here), "data.root") != OPEN
    (tmp_path / "diary").write_text("")
    (tmp_path / "job" / "inside" / "b.csv").symlink_to(tmp_path / "diary")
    assert select(read_saved(path, here), "data.root") == OPEN


HIDDEN = {"a dot": "a.b", "a bracket": "a[0]", "a number": 1, "a yes": True, "nothing": ""}


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize("what", HIDDEN)
def test_no_key_hides_what_is_below_it(tmp_path: Path, here: DictConfig, what: str, sign: bool) -> None:
    """A dotted path would not lead there, so no limit would look at it."""
    harm = {"_target_": "picdesk.backbones.own_code.OwnCode", "model": "/srv/x", "allow_code": True}
    parts = {"_target_": "picdesk.rerankers.several.Several", "parts": {HIDDEN[what]: harm}, "use": [HIDDEN[what]]}
    with pytest.raises(DataError, match="without dots and brackets"):
        read_saved(save_changed(tmp_path, here, put("reranker", parts), sign), here)


GROWING: dict[str, dict[str, Any]] = {
    "texts": {**{f"n{i}": f"${{expected.n{i + 1}}}" * 10 for i in range(12)}, "n12": "lol"},
    "tables": {**{f"n{i}": {f"k{j}": f"${{expected.n{i + 1}}}" for j in range(10)} for i in range(12)}, "n12": {}},
    "neighbours": {**{f"n{i}": f"${{.n{i + 1}}}" * 10 for i in range(12)}, "n12": "lol"},
    "lists": {**{f"n{i}": [f"${{expected.n{i + 1}}}"] * 10 for i in range(12)}, "n12": ["lol"]},
}


@pytest.mark.parametrize("what", GROWING)
def test_a_short_text_does_not_stand_for_a_billion_letters(tmp_path: Path, here: DictConfig, what: str) -> None:
    with pytest.raises(DataError, match="beyond all measure"):
        read_saved(save_changed(tmp_path, here, lambda cfg: cfg.update(expected=GROWING[what])), here)


def test_nor_by_way_of_a_name_for_a_name(tmp_path: Path, here: DictConfig) -> None:
    grown = {**GROWING["tables"], "other": "${expected.n0}", "x": "${expected.other.k0}"}
    with pytest.raises(DataError, match=r"leads on through another name|beyond all measure"):
        read_saved(save_changed(tmp_path, here, lambda cfg: cfg.update(expected={"x": grown.pop("x"), **grown})), here)


def test_a_file_of_the_working_folder_is_not_the_jobs(
    tmp_path: Path, here: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "notes.csv").write_text("private")
    monkeypatch.chdir(tmp_path / "work")
    cfg = read_saved(save_changed(tmp_path, here, put("split.file", "notes.csv")), here)
    assert select(cfg, "split.file") == OPEN


QUESTIONS = (
    "${oc.env:HOME}",
    "x ${oc.env:HOME,none} y",
    "${oc.decode:x}",
    "${oc.create:{a: 1}}",
    "${oc.dict.values:paths}",
    "${hydra:runtime.cwd}",
    "${project:}",
    "${job_tag:}",
    "${now:%Y}",
    "${ oc.env : HOME }",
    "${${expected.a}:HOME}",
    "${expected.${oc.env:HOME}}",
    "\\${oc.env:HOME}",
    "\\\\${oc.env:HOME}",
    "$${expected.a}",
    "a$",
    "${expected.a",
)


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize("text", QUESTIONS)
def test_a_saved_config_asks_nothing(tmp_path: Path, here: DictConfig, text: str, sign: bool) -> None:
    def change(cfg: dict[str, Any]) -> None:
        cfg["expected"] = {"a": "oc.env"}

    path = save_changed(tmp_path, here, change)
    body = path.read_text().replace("name: newsimages", f"name: {text!r}".replace("\\\\", "\\"))
    assert body != path.read_text()
    for place in (body, body + f"expected_more:\n  deep: [[{text!r}]]\n".replace("\\\\", "\\")):
        path.write_text(marks.sign(place) if sign else place)
        with pytest.raises(DataError, match=r"may not|cannot be read"):
            read_saved(path, here)


def test_keys_are_texts_too(tmp_path: Path, here: DictConfig) -> None:
    path = save_changed(tmp_path, here, lambda cfg: cfg["choices"].update({"${oc.env:HOME}": "x"}))
    with pytest.raises(DataError, match="may not"):
        read_saved(path, here)


YAMLS = {
    "a bomb of aliases": "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\nbackbone: {}\n",
    "an object": "backbone: !!python/object/apply:os.system ['true']\n",
    "a path object": "backbone: {}\nx: !!python/object/apply:pathlib.PosixPath [/etc]\n",
    "a local tag": "backbone: {}\nx: !secret y\n",
    "deep nesting": "backbone: {}\nx: " + "[" * 200 + "]" * 200 + "\n",
    "very deep nesting": "backbone: {}\nx: " + "[" * 100_000 + "]" * 100_000 + "\n",
    "no backbone": "data: {}\n",
    "a backbone that is a text": "backbone: x\n",
    "a list": "- backbone\n",
    "nothing": "",
    "no YAML": "backbone: {\n",
    "a key twice": "backbone: {}\nbackbone: {}\n",
    "no text": "\x00\xff",
    "letters that steer a terminal": 'backbone: {}\nx: "\\e[2J"\n',
    "an interpolation that leads nowhere": "backbone: {_target_: '${nowhere}'}\n",
    "interpolations that go in a circle": "backbone: {a: '${backbone.b}', b: '${backbone.a}'}\n",
    "a number for a group": "backbone: {}\ndata: 3\n",
    "a table for a number": "backbone: {}\nseed: {a: 1}\n",
    "a text for a number": "backbone: {}\ntop_k: many\n",
    "a list for a table": "backbone: {}\nencode: [1]\n",
    "a text for a number of the encoder": "backbone: {}\nencode: {batch_size: many}\n",
}


@pytest.mark.parametrize("what", YAMLS)
def test_what_is_no_config_is_one_line(tmp_path: Path, here: DictConfig, what: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(YAMLS[what].encode("latin-1"))
    with pytest.raises((DataError, ValueError)) as error:
        read_saved(path, here)
    assert type(error.value).__name__ in ("DataError", "ConfigError")
    assert len(str(error.value).splitlines()) == 1


def test_a_number_in_quotes_becomes_a_number(tmp_path: Path, here: DictConfig) -> None:
    def change(cfg: dict[str, Any]) -> None:
        cfg["bootstrap"]["level"], cfg["top_k"], cfg["part"] = "nan", "7", "7"

    cfg = read_saved(save_changed(tmp_path, here, change), here)
    assert isinstance(cfg.bootstrap.level, float)
    assert (cfg.top_k, cfg.part) == (7, "7")


def test_a_huge_config_is_not_read(tmp_path: Path, here: DictConfig) -> None:
    path = tmp_path / "config.yaml"
    with path.open("wb") as stream:
        stream.truncate(1 << 32)
    with pytest.raises(DataError, match="no config of a job is as large"):
        read_saved(path, here)
    with pytest.raises(MissingFileError):
        read_saved(tmp_path / "none.yaml", here)


def test_every_changed_byte_of_a_config_is_noticed(tmp_path: Path, here: DictConfig) -> None:
    """One byte after the other; what still reads must read as it was, and then it no longer passes as this user's own."""
    path = tmp_path / "config.yaml"
    Session(here).write_config(path)
    whole, (wanted, own) = path.read_bytes(), read_values(path)
    assert own
    wanted.pop("paths")  # only one's own has it
    kept, refused = 0, 0
    for at in range(0, len(whole), 13):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 7)]) + whole[at + 1 :])
        os.utime(path, ns=(at, at))
        try:
            cfg, own = read_values(path)
        except DataError:
            refused += 1
            continue
        kept += 1
        assert cfg == wanted
        assert not own
    assert refused > 20 * kept
    for cut in range(1, len(whole), 397):
        path.write_bytes(whole[:-cut])
        os.utime(path, ns=(cut, cut))
        try:
            _, own = read_values(path)
        except DataError:
            continue
        assert not own


def test_nobody_else_writes_as_this_user(tmp_path: Path, here: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
        Session(here).write_config(tmp_path / "config.yaml")
        assert read_values(tmp_path / "config.yaml")[1]
    os.utime(tmp_path / "config.yaml", ns=(1, 1))
    assert not read_values(tmp_path / "config.yaml")[1]
    key = tmp_path / "other" / "picdesk" / "key"
    assert key.stat().st_mode & 0o777 == 0o600


def test_without_a_state_folder_nothing_is_ones_own(
    tmp_path: Path, here: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    Session(here).write_config(tmp_path / "config.yaml")
    assert read_values(tmp_path / "config.yaml")[1] is False


@pytest.mark.parametrize(
    ("override", "may"),
    [
        ("loss.margin=0.2", True),
        ("data=csv", True),
        ("training.batch_size=[1,2]", True),
        ("language_model.base_url=https://x.example", False),
        ("backbone.allow_code=true", False),
        ("backbone={allow_code: true}", False),
        ("plugins=[evil]", False),
        ("logger.mode=online", False),
        ("x=${oc.env:HOME}", False),
        ("a b=1", False),
        ("data.file=http://x.example/a", False),
        ("backbone= {allow_code: true}", False),
        ("backbone.x=!!map {allow_code: true}", False),
        ('data.name="\\u0024{oc.env:HOME}"', False),
        ('data.name="http:\\/\\/x.example"', False),
        ("data.name=a: b", False),
        ("data.name=[/b]4", False),
        ("data.name='a: b, see uri'", True),
        ("data.root=/etc", False),
        ("data.file=../../x", False),
        ("hydra/launcher=slurm", False),
        ("logger@x=wandb", False),
        ("task/evaluate=x", False),
        ("backbone@reranker.backbone=lite", True),
    ],
)
def test_what_is_ready_to_be_pasted_decides_nothing_either(override: str, may: bool) -> None:
    key, _, value = override.partition("=")
    assert may_be_repeated(key, value, own=False) is may


def test_paths_of_ones_own_job_are_repeated() -> None:
    assert may_be_repeated("data.root", "/photos", own=True)


@pytest.mark.parametrize(
    "text", ["a: 1\n", "- [1]\n", '- "x=a\\nb"\n', "- !!python/name:os.system x\n", "- &a x\n- *a\n", "\xff"]
)
def test_overrides_are_a_list_of_texts(tmp_path: Path, text: str) -> None:
    path = tmp_path / "overrides.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError):
        read_overrides(path)
    path.write_text("- loss.margin=0.2\n")
    assert read_overrides(path) == ["loss.margin=0.2"]


ODD_TEXTS = {
    "values": "a: 1e5\nb: 1_0\nc: 0x1f\nd: 1:20\ne: 2024-01-01\nf: .inf\ng: yes\nh: ~\ni: 0o7\nj: '1'\n",
    "quotes": "a: \"\\x41\\u00e9\\\n  b\\/\"\nb: 'it''s'\nc: \"é 🙂\"\nd: ${a:b}\n",
    "blocks": "a: |\n  x\n   y\n\nb: >-\n  long\n  text\nc: [1, {d: [e]}, 'f,g']\n? h\n: i\n",
    "line ends": "a: 1\r\nb: 2\rc: 3\x85d: 4\u2028e: 5\n",
    "a mark of byte order": "a: b\n\ufeffc: d\n",
    "a text": "only words",
    "nothing": "# a comment\n",
    "a list": "- 1\n- a: b\n",
}
REFUSED_TEXTS = {
    "a key twice": "a: 1\na: 2\n",
    "a tab": "a:\t1\n",
    "an alias": "a: &x 1\nb: *x\n",
    "a tag": "a: !!python/name:os.system x\n",
    "deep": "[" * 60,
    "two documents": "a: 1\n---\nb: 2\n",
    "no end": "a: 'b\n",
    "a colon": "a: b: c\n",
    "a letter that steers": "a: \x07\n",
    "half a letter": "a: \ud800\n",
    "a number alone": "5\n",
    "a truth alone": "yes",
}


@pytest.mark.parametrize("what", [*ODD_TEXTS, *REFUSED_TEXTS])
def test_the_quick_parser_reads_what_pyyaml_reads(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """And of what it does not read, the same is told."""

    def read() -> object:
        try:
            return parse_values((ODD_TEXTS | REFUSED_TEXTS)[what], Path("config.yaml"))
        except DataError as error:
            return str(error)

    found = read()
    monkeypatch.setattr(saved_text, "QUICK", None)
    assert repr(found) == repr(read())
    assert isinstance(found, str) == (what in REFUSED_TEXTS)
