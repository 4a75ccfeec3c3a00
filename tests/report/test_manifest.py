import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from picdesk.errors import DataError, MissingFileError
from picdesk.files import file_digest
from picdesk.report import provenance
from picdesk.report.manifest import Manifest
from picdesk.report.metrics_file import read_metrics, read_scores, write_metrics
from picdesk.report.provenance import Stopwatch
from tests.mutations import mutations


def manifest(folder: Path, **changes: object) -> Manifest:
    (folder / "metrics.json").write_text('{"t2i": 1}')
    stopwatch = Stopwatch()
    with stopwatch.stage("encode"):
        pass
    parts: dict[str, object] = {
        "task": "evaluate",
        "seed": 7,
        "data": {"name": "demo", "captions": "aa", "pictures": "bb", "split": "cc"},
        "weights": {"image": "dd", "text": "ee"},
        "config": "ff",
        "index": "Flat, inner product",
        "counts": {"encoded": 10, "reused": 2, "left_out": 1},
    }
    return Manifest.of_job(folder, stopwatch, **(parts | changes))  # type: ignore[arg-type]


def test_it_reads_back_as_it_was_written(tmp_path):
    wrote = manifest(tmp_path)
    wrote.write(tmp_path / "manifest.json")
    assert Manifest.read(tmp_path / "manifest.json") == wrote
    assert wrote.files == {"metrics.json": file_digest(tmp_path / "metrics.json")}
    assert [stage.name for stage in wrote.stages] == ["encode"]
    assert wrote.packages["numpy"].count(".") >= 2
    assert wrote.python.startswith("CPython 3.")
    assert wrote.started <= wrote.ended


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.pop("seed"), "missing keys ['seed']"),
        (lambda m: m.update(sed=1), "unknown keys ['sed']"),
        (lambda m: m.update(seed="7"), "seed: '7' is not int"),
        (lambda m: m.update(seed=True), "seed: True is not int"),
        (lambda m: m.update(command="python"), "command: 'python' is not a list"),
        (lambda m: m.update(counts={"encoded": 1.5}), "counts.encoded: 1.5 is not int"),
        (lambda m: m["stages"][0].pop("seconds"), "stages[0]: missing keys ['seconds']"),
        (lambda m: m.update(code=[]), "code: holds list, wanted an object"),
        (lambda m: m.update(form=9), "form is 9"),
    ],
)
def test_a_faulty_manifest_is_refused_by_key(tmp_path, change, said):
    path = tmp_path / "manifest.json"
    manifest(tmp_path).write(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as error:
        Manifest.read(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_manifest_and_no_json_are_said_so(tmp_path):
    with pytest.raises(MissingFileError, match="no such manifest"):
        Manifest.read(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="not a JSON file"):
        Manifest.read(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="wanted an object"):
        Manifest.read(tmp_path / "manifest.json")


def test_a_changed_or_missing_file_is_named(tmp_path):
    wrote = manifest(tmp_path)
    wrote.check_files(tmp_path)
    (tmp_path / "metrics.json").write_text('{"t2i": 2}')
    with pytest.raises(DataError, match=r"metrics\.json: changed since the job"):
        wrote.check_files(tmp_path)
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(MissingFileError, match=r"metrics\.json"):
        wrote.check_files(tmp_path)


def test_a_manifest_cannot_reach_outside_its_folder(tmp_path):
    (tmp_path / "job").mkdir()
    wrote = manifest(tmp_path / "job")
    for name in ("../secret", "/etc/passwd", "a/b", "..", ""):
        with pytest.raises(DataError, match="not the name of a file beside"):
            Manifest(**{**vars(wrote), "files": {name: "00"}}).check_files(tmp_path / "job")


def test_differences_name_the_key(tmp_path):
    one = manifest(tmp_path)
    assert one.differences(manifest(tmp_path)) == ()
    other = manifest(tmp_path, seed=8, data={**one.data, "split": "zz"})
    assert one.differences(other) == ("seed: 7 and 8", "data.split: 'cc' and 'zz'")
    assert one.differences(manifest(tmp_path, weights={"image": "dd"})) == ("weights.text: 'ee' and None",)


def test_metrics_have_one_form(tmp_path):
    np = pytest.importorskip("numpy")
    write_metrics(tmp_path / "a.json", {"t2i": {"mrr": np.float64(0.1) + 0.2, "hits@1": 1}, "queries": np.int64(3)})
    write_metrics(tmp_path / "b.json", {"queries": 3, "t2i": {"hits@1": 1, "mrr": 0.30000000000000004}})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_metrics(tmp_path / "a.json")["t2i"]["mrr"] == 0.1 + 0.2
    with pytest.raises(DataError, match=r"metrics\.t2i\.mrr: nan"):
        write_metrics(tmp_path / "c.json", {"t2i": {"mrr": float("nan")}})
    with pytest.raises(DataError, match=r"metrics\.x: object"):
        write_metrics(tmp_path / "c.json", {"x": object()})
    assert not (tmp_path / "c.json").exists()


def test_the_code_revision_is_that_of_the_checkout_and_says_when_it_is_dirty(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    source = tmp_path / "pack" / "__init__.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    assert provenance.code_at(source).revision is None
    git("init", "-q")
    assert provenance.code_at(source).revision is None  # a checkout, but not of this file
    git("add", ".")
    git("commit", "-qm", "one")
    clean = provenance.code_at(source)
    assert clean.revision == git("rev-parse", "HEAD").strip()
    assert clean.dirty is False
    (tmp_path / "notes.txt").write_text("nothing that runs")
    assert provenance.code_at(source).dirty is False
    (tmp_path / "pack" / "new.py").write_text("y = 2\n")
    assert provenance.code_at(source).dirty is False  # it lies about, and nothing of it runs
    monkeypatch.setitem(sys.modules, "pack.new", SimpleNamespace(__file__=str(tmp_path / "pack" / "new.py")))
    assert provenance.code_at(source).dirty is True
    monkeypatch.delitem(sys.modules, "pack.new")
    (tmp_path / "pack" / "new.py").unlink()
    source.write_text("x = 2\n")
    assert provenance.code_at(source).dirty is True
    assert str(provenance.code_at(source)).endswith("with changes")


def test_without_git_there_is_no_revision(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.code_at(Path(provenance.__file__)).revision is None


def test_no_damaged_manifest_is_believed(tmp_path):
    path = tmp_path / "manifest.json"
    wrote = manifest(tmp_path, settings={"seed": "0"})
    wrote.write(path)
    tried = 0
    for what, content in mutations(path.read_bytes(), 200):
        path.write_bytes(content)
        with suppress(DataError):
            assert Manifest.read(path) == wrote, f"{what} changed something unseen"
        tried += 1
    assert tried > 150


def test_a_value_that_was_changed_by_hand_is_noticed(tmp_path):
    path = tmp_path / "manifest.json"
    manifest(tmp_path).write(path)
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    with pytest.raises(DataError, match="digest does not fit"):
        Manifest.read(path)


def test_one_of_an_earlier_version_has_no_digest(tmp_path):
    path = tmp_path / "manifest.json"
    wrote = manifest(tmp_path)
    wrote.write(path)
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    assert Manifest.read(path) == wrote


def test_letters_that_steer_a_terminal_are_no_part_of_one(tmp_path):
    path = tmp_path / "manifest.json"
    manifest(tmp_path, weights={"name": "\x1b[2J"}).write(path)
    with pytest.raises(DataError, match=r"weights\.name: holds letters"):
        Manifest.read(path)


SCORES = '{"metrics": {"hits@1": 0.5, "queries": 3}, "intervals": {"hits@1": [0.4, 0.6]}}'


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"t2i": 1}',
        '{"t2i": {"metrics": [], "intervals": {}}}',
        '{"t2i": {"metrics": {"hits@1": 0.5}, "intervals": {}}}',
        SCORES.replace("0.5", '"0.5"').join(('{"t2i": ', "}")),
        SCORES.replace("0.5", "NaN").join(('{"t2i": ', "}")),
        SCORES.replace("0.5", "1e999").join(('{"t2i": ', "}")),
        SCORES.replace("0.5", "true").join(('{"t2i": ', "}")),
        SCORES.replace("0.6", "[0.6]").join(('{"t2i": ', "}")),
        f'{{"t2i": {SCORES}, "folds": {{"t2i": {{"mean_rank": [1e999, 1, 2]}}}}}}',
        f'{{"t2i": {SCORES}, "slices": {{"queries": {"9" * 400}}}}}',
        "[" * 100_000,
        "9" * 100_000,
        '{"t2i": ' + "9" * 5_000 + "}",
        "\x00",
    ],
)
def test_scores_of_a_job_are_numbers_by_name(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"metrics\.json"):
        read_scores(path)
    path.write_text(f'{{"t2i": {SCORES}}}')
    assert read_scores(path)["t2i"]["metrics"]["hits@1"] == 0.5
