"""What is typed is what is asked: free text and file names pass Hydra's grammar unchanged, in a process and on a real list."""

import csv
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from picdesk.assembly.command_line import door_arguments, hydra_arguments, near_keys, unknown_key
from picdesk.data.picture_formats import ENDINGS
from picdesk.errors import ConfigError
from picdesk.readers.queries import SUFFIXES
from tests.conftest import PROJECT

KNOWN = {"query", "image", "queries", "ckpt", "data", "seed", "backbone", "hydra", "top_k"}
HEADLINES = (
    "It's raining, again",
    "Storm (force 9) closes harbour: ferries stop",
    'Minister: "No new taxes" ... or $5, 10% more?',
    "一只狗在沙滩上",
    "1e5",
    "null",
    "true",
    "[live] {update} ~ #harbour @ 5 = full!",
    "costs ${100} or \\${HOME} or ${oc.env:HOME}",
    "ends with a backslash \\",
    "choice(a,b)",
    "a=b, c=d",
    "tab\tand\nline",
    "--dashes -- and - minus",
    "'quoted'",
    "€ ½ 👍",
)


def through_hydra(arguments: list[str]) -> dict[str, object]:
    """The keys that Hydra's parser and OmegaConf make of the arguments, resolved."""
    config = OmegaConf.create({})
    for override in OverridesParser.create().parse_overrides(arguments):
        OmegaConf.update(config, override.key_or_group, override.value())
    found = OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(config)), resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


@pytest.mark.parametrize("text", HEADLINES)
def test_a_text_comes_through_as_typed(text: str) -> None:
    assert through_hydra(hydra_arguments([f"query={text}"], KNOWN)) == {"query": text}
    assert through_hydra(hydra_arguments([f"++query={text}"], KNOWN)) == {"query": text}


@pytest.mark.parametrize("typed", ["???", "query=???", "++query=???"])
def test_three_question_marks_are_a_text(typed: str) -> None:
    (found,) = through_hydra(hydra_arguments([typed], KNOWN, takes_text=True)).values()
    assert found.strip() == "???"
    assert found != "???", "which is no value to OmegaConf"


def test_a_key_that_the_library_may_know_is_given_with_its_sign() -> None:
    assert "+trainer.precision=VALUE goes to the library" in unknown_key("trainer.precision")
    assert "did you mean trainer.max_epochs" in unknown_key("trainer.max_epoch")


def test_three_question_marks_in_a_list() -> None:
    (found,) = door_arguments(["also=[a cat,???]"])
    assert found == "task.also=['a cat','??? ']"
    for typed in ("metrics.names=[???]", "metrics.ks=[1, ???,5]"):
        with pytest.raises(ConfigError, match=re.escape(f"{typed}: ??? stands for a value")):
            door_arguments([typed])


def test_any_text_comes_through() -> None:
    draw = random.Random(0)
    pieces = ["'", '"', "\\", "$", "{", "}", "${", "${x}", "a", " ", "\n", "中", ",", "(", ")", "[", "]", ":", "=", "%"]
    for _ in range(1000):
        text = "".join(draw.choice(pieces) for _ in range(draw.randint(1, 9)))
        assert through_hydra(hydra_arguments([f"query={text}"], KNOWN)) == {"query": text}


@pytest.mark.parametrize("text", [t for t in HEADLINES if t not in ("--dashes -- and - minus",)])
def test_a_text_without_a_key_is_the_query(text: str) -> None:
    assert through_hydra(hydra_arguments(["seed=3", text], KNOWN, takes_text=True)) == {"seed": 3, "query": text}


def test_a_picture_or_a_file_of_queries_without_a_key(tmp_path: Path) -> None:
    spaced, asked = tmp_path / "my (best), photo.JPG", tmp_path / "asked.csv"
    spaced.touch()
    asked.touch()
    assert through_hydra(hydra_arguments([str(spaced)], KNOWN, True)) == {"image": str(spaced)}
    assert through_hydra(hydra_arguments(["not_there.png"], KNOWN, True)) == {"image": "not_there.png"}
    assert through_hydra(hydra_arguments([str(asked)], KNOWN, True)) == {"queries": str(asked)}
    for sentence in (
        "read more in news.csv",
        "not_there.csv",
        f"{'a dog ' * 100}in photo.jpg",
        f"{'a dog ' * 100}in x.txt",
    ):
        assert through_hydra(hydra_arguments([sentence], KNOWN, True)) == {"query": sentence}


def test_each_kind_of_file_that_is_read_stands_without_its_key(tmp_path: Path) -> None:
    names = {"queries": [*SUFFIXES, ".TXT", ".csv.gz"], "image": [f".{ending}" for ending in (*ENDINGS, "JP2", "svg")]}
    for key, endings in names.items():
        for ending in endings:
            (tmp_path / f"my file{ending}").touch()
            path = str(tmp_path / f"my file{ending}")
            assert through_hydra(hydra_arguments([path], KNOWN, True)) == {key: path}


@pytest.mark.parametrize("name", ["/my (old), pictures", "/it's here", "/图片", "/a=b", "/1e5", "/50% off", "/[x"])
def test_names_of_files_come_through(name: str) -> None:
    for key in ("data.root", "ckpt", "image", "paths.outputs"):
        assert through_hydra(hydra_arguments([f"{key}={name}"], KNOWN | {"paths"})) == (
            {key: name} if "." not in key else {key.split(".")[0]: {key.split(".")[1]: name}}
        )
    assert through_hydra(hydra_arguments(["data.file=2024"], KNOWN)) == {"data": {"file": "2024"}}


def test_what_hydra_reads_is_left_to_it() -> None:
    kept = [
        "ckpt=null",
        "data.root=${paths.data_root}/x",
        "loss.weights=[1.0,0.1]",
        "seed=1,2",
        "~backbone",
        "data=csv",
    ]
    assert hydra_arguments([*kept, "--cfg", "job", "-m"], KNOWN | {"loss"}) == [*kept, "--cfg", "job", "-m"]
    assert hydra_arguments(["ckpt='a b'"], KNOWN) == ["ckpt='a b'"]


def test_a_sweep_over_texts_is_asked_for_by_choice() -> None:
    swept = "query=choice('a storm, at sea','it rains')"
    assert hydra_arguments(["-m", swept], KNOWN) == ["-m", swept]
    (parsed,) = OverridesParser.create().parse_overrides(hydra_arguments(["-m", swept], KNOWN)[1:])
    assert parsed.is_sweep_override()
    assert through_hydra(hydra_arguments(["-m", "query=a, b"], KNOWN)[1:]) == {"query": "a, b"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ckpt", "latest"], "write ckpt=latest"),
        (["-ckpt", "my jobs/it"], "write ckpt='my jobs/it'"),
        (["--ckpt"], "write ckpt=VALUE"),
        (["--ckpt", "seed=3"], "write ckpt=VALUE"),
        (["--ckpt", "--multirun"], "write ckpt=VALUE"),
        (["--top_k", "5"], "write top_k=5"),
        (["--share", "-0.5"], "write share=-0.5"),
        (["--top-k=5"], "write top_k=5"),
        (["--data=demo"], "write data=demo"),
        (["storm", "over", "the", "harbour"], 'in quotes, "storm over the harbour"'),
        (["query=\udce9t\udce9"], "not UTF-8"),
        (["a dog", "query=a cat"], "'a dog' and query='a cat' are asked: give one of them"),
        (["a dog", "task.query=cat"], "'a dog' and task.query='cat' are asked"),
        (["dog.jpg", "++image=cat.jpg"], "'dog.jpg' and ++image=cat.jpg are asked"),
    ],
)
def test_what_nobody_can_read_is_told_in_one_line(arguments: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        hydra_arguments(arguments, KNOWN, takes_text=True)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_keys_of_the_job_that_is_had_again_are_taken_and_others_looked_at() -> None:
    given = ["reproduce=JOB", "reranker.file=F", "bootstrap.resampels=10", "data=csv", "paths.outputs=O"]
    added = ["task.reproduce=JOB", "++reranker.file=F", *given[2:]]
    assert door_arguments(given) == added
    assert door_arguments(given[1:]) == given[1:]


def test_a_door_that_searches_nothing_takes_no_bare_text() -> None:
    with pytest.raises(ConfigError, match="'storm' is not KEY=VALUE"):
        hydra_arguments(["storm"], KNOWN)


def test_near_keys() -> None:
    known = {"optimizer.lr", "optimizer.weight_decay", "loss.margin", "top_k", "ckpt"}
    assert near_keys("lr", known) == ["optimizer.lr"]
    assert near_keys("loss.margn", known) == ["loss.margin"]
    assert near_keys("topk", known) == ["top_k"]
    assert near_keys("nonsense", known) == []


COMPOSE = """
import json, sys
from hydra import compose, initialize_config_dir
from picdesk.assembly.command_line import door_arguments
from picdesk.assembly import schema
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
with initialize_config_dir(sys.argv[1], version_base="1.3"):
    base = compose("retrieve")
parser, found = OverridesParser.create(), []
for typed in sys.argv[2:]:
    (override,) = parser.parse_overrides(door_arguments([typed], True))
    OmegaConf.update(base, override.key_or_group, override.value())
    found.append(base.task.query)
print(json.dumps(found))
"""


def composed_in_a_process(arguments: list[str]) -> list[str]:
    """What the config says of `query` after each of the arguments, in a process that was started with them."""
    command = [sys.executable, "-c", COMPOSE, str(PROJECT / "conf"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, cwd=PROJECT)
    found: list[str] = json.loads(done.stdout)
    return found


def test_headlines_come_through_a_process() -> None:
    texts = [text for text in HEADLINES if not text.startswith("-")]
    assert composed_in_a_process([*(f"query={text}" for text in HEADLINES), *texts]) == [*HEADLINES, *texts]


@pytest.mark.real
def test_all_titles_of_a_real_list_come_through_a_process(data_root: Path) -> None:
    with (data_root / "newsimages" / "newsarticles.csv").open(encoding="utf-8-sig", newline="") as stream:
        titles = [row["article_title"] for row in csv.DictReader(stream)]
    assert len(titles) > 4000
    for start in range(0, len(titles), 500):
        part = titles[start : start + 500]
        assert composed_in_a_process([f"query={title}" for title in part]) == part


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("task=tune_index", "queries=20"), "task.timed_queries=20"),
        (("task=tune_index", "task.queries=20"), "task.timed_queries=20"),
        (("task=tune_index", "tune.queries=20"), "task.timed_queries=20"),
        (("task=tune_index", "tune_index.timed_queries=20"), "task.timed_queries=20"),
        (("task=doctor", "queries=20"), "task.queries='20'"),
    ],
)
def test_a_key_of_a_task_that_had_another_name_is_taken_by_it(typed: tuple[str, ...], meant: str) -> None:
    assert door_arguments(typed) == [typed[0], meant]


@pytest.mark.parametrize("flag", ["--experimental-rerun", "--experimental-rer", "--experimental-rerun=FILE"])
@pytest.mark.parametrize("more", [[], ["-sc", "install=bash"]])
def test_no_door_unpickles_a_config(flag: str, more: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--experimental-rerun: a pickled config could run code.*reproduce="):
        door_arguments([flag.replace("FILE", str(tmp_path)), str(tmp_path), *more])
