"""What goes when an index is saved over another one: what that one named, and nothing else."""

from pathlib import Path

import pytest

from picdesk.errors import ConfigError
from picdesk.files import LOCK, digest_of, write_json
from picdesk.search.indexes import FlatIndex
from picdesk.search.open_saved import open_index, write_note
from picdesk.search.own_files import HEADER, LANCE_NOTE, check_free, names_in, replacing
from tests.search.vectors import clustered_vectors, embeddings

OWN = ("columns-2024.parquet", "ids-7.jsonl", "index-old.faiss", "lists-a.ivfdata", "lance-mine")
NOTE_OF_A_BASE = {"uri": "x.db", "collection": "c", "made_from": {}}


def flat() -> FlatIndex:
    index = FlatIndex()
    index.build(embeddings(clustered_vectors(20, 1), "item"))
    return index


def test_an_index_drops_what_the_former_one_named_alone(tmp_path: Path) -> None:
    for name in OWN:
        (tmp_path / name).write_text("own")
    for _ in range(3):
        flat().save(tmp_path)
    write_note(tmp_path, NOTE_OF_A_BASE)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*OWN, "milvus.json"])
    flat().save(tmp_path)
    assert not (tmp_path / "milvus.json").exists()
    assert len(open_index(tmp_path).ids) == 20


def test_what_a_killed_job_began_goes_with_the_next_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat().save(tmp_path)
    (tmp_path / "ids-7.jsonl").write_text("own")
    with monkeypatch.context() as killed:
        killed.setattr("picdesk.search.index_files.write_json", _end)
        with pytest.raises(KeyboardInterrupt):
            flat().save(tmp_path)
    assert (tmp_path / "index-1.faiss").is_file()
    assert len(open_index(tmp_path).ids) == 20
    flat().save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {HEADER, "index-2.faiss", "ids-2.jsonl", "ids-7.jsonl"}


def _end(*given: object) -> None:
    raise KeyboardInterrupt


def test_ids_of_somebody_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "ids-0.jsonl").write_text("own")
    flat().save(tmp_path)
    assert (tmp_path / "ids-0.jsonl").read_text() == "own"
    assert names_in(tmp_path, HEADER) == {HEADER, "ids-1.jsonl", "index-1.faiss"}


def test_a_file_of_the_name_of_a_header_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / HEADER).write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match=r"header\.json: is there already and is of no saved index"):
        flat().save(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(HEADER, '{"mine": 1}')]


@pytest.mark.parametrize("name", ["../away", "notes.txt", "/away", "config.yaml"])
def test_a_note_cannot_have_anything_else_removed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / name).resolve().write_text("own") if name != "/away" else None
    note = {"uri": name, "collection": "c", "made_from": {}, "files": {"a": [1, "b"]}}
    write_json(folder / LANCE_NOTE, note | {"checksum": digest_of(note)})
    with replacing(folder, HEADER):
        pass
    assert not (folder / LANCE_NOTE).exists()
    assert name == "/away" or (folder / name).read_text() == "own"


def test_which_folders_are_free(tmp_path: Path) -> None:
    check_free(tmp_path / "none", "index_dir")
    (tmp_path / ".hidden").write_text("own")
    check_free(tmp_path, "index_dir")
    (tmp_path / "index-0.faiss").write_text("begun, or somebody's")
    with pytest.raises(
        ConfigError, match=r"index_dir=.*: neither empty nor a saved index \('index-0.faiss' is there\)"
    ):
        check_free(tmp_path, "index_dir")
    (tmp_path / LOCK).touch()  # a job began here, and was stopped
    check_free(tmp_path, "index_dir")
    (tmp_path / "base.db").write_text("its own database")
    with pytest.raises(ConfigError, match="base"):
        check_free(tmp_path, "index_dir")
    check_free(tmp_path, "index_dir", tmp_path / "base.db")
    flat().save(tmp_path)
    check_free(tmp_path, "index_dir")
