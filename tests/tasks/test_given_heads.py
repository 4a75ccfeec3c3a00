"""Heads on given vectors: they begin where the vectors are, they learn; what they leave is searched, exported and asked again."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from picdesk.assembly import reading
from picdesk.errors import ConfigError
from picdesk.report.metrics_file import read_metrics
from picdesk.trec.files import read_runs
from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run

Capture = pytest.CaptureFixture[str]
HEADS = ("identity", "linear", "mlp", "residual", "low_rank")
BEGIN_THERE = ("residual", "low_rank")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 pictures."""
    return write_vectors(tmp_path_factory.mktemp("given"), 150)


@pytest.fixture
def plain(capfd: Capture, outputs: Path, given: Path) -> Ran:
    """The score of the vectors as they are; run by the first test that asks."""
    if given not in _PLAIN:
        _PLAIN[given] = run(capfd, outputs, "evaluate", *arguments(given))
    return _PLAIN[given]


_PLAIN: dict[Path, Ran] = {}


def write_vectors(folder: Path, count: int) -> Path:
    """Pictures with two texts each: text vectors are the pictures' under a rotation that a head can learn, and noise."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((count, 32))
    turn = np.linalg.qr(np.eye(32) + 0.35 * rng.standard_normal((32, 32)))[0]
    owner = np.repeat(np.arange(count), 2)
    texts = images[owner] @ turn + 0.6 * rng.standard_normal((2 * count, 32))
    names = np.array([f"p{i:03}" for i in range(count)])
    arrays = {"image_embeddings": images.astype(np.float32), "text_embeddings": texts.astype(np.float32)}
    np.savez(folder / "given.npz", image_names=names, **arrays)  # type: ignore[arg-type]
    rows = [f"p{i:03},red thing {i} number {n}" for i in range(count) for n in range(2)]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    return folder


def arguments(folder: Path, *more: str) -> tuple[str, ...]:
    data = ("data=npz", f"data.root={folder}", "data.file=given.npz", "data.image_names=image_names")
    return (*data, "prompt=caption", "backbone=precomputed", "backbone.dim=32", "bootstrap.resamples=100", *more)


def heads(image: str, text: str) -> tuple[str, str]:
    return f"backbone/head@backbone.image_head={image}", f"backbone/head@backbone.text_head={text}"


TOWER = ("+backbone@backbone.text_encoder=minilm",)
FIT = ("trainer.max_epochs=20", "training.batch_size=64", "loss=infonce", "optimizer.lr=1e-2")


def hits(ran: Ran) -> float:
    assert ran.status == 0, ran.err
    found = read_metrics(ran.folder / "metrics.json")
    return float(found["t2i"]["metrics"]["hits@1"])


@pytest.mark.parametrize("head", BEGIN_THERE)
def test_before_training_the_order_is_that_of_the_vectors_to_the_bit(
    capfd: Capture, outputs: Path, given: Path, plain: Ran, head: str
) -> None:
    adapted = run(capfd, outputs, "evaluate", *arguments(given, *heads(head, head)))
    assert hits(adapted) == hits(plain)
    for name in ("metrics.json", "run.trec"):
        assert adapted.file(name) == plain.file(name)
    assert "untrained" not in adapted.out


def test_an_adapter_learns_is_scored_and_answers(capfd: Capture, outputs: Path, given: Path, plain: Ran) -> None:
    quick = (*FIT, "trainer.max_epochs=6", "optimizer.lr=3e-2")
    fitted = run(capfd, outputs, "train", *arguments(given, *heads("residual", "low_rank"), *quick))
    assert hits(fitted) > hits(plain) + 0.1
    again = run(capfd, outputs, "evaluate", f"ckpt={fitted.folder}", "bootstrap.resamples=100")
    assert again.status == 0, again.err
    ours, theirs = (read_runs(one.folder / "run.trec")["t2i"] for one in (again, fitted))
    assert ours.index.tolist() == theirs.index.tolist()


def test_texts_without_vectors_are_encoded_and_an_export_knows_who_answers(
    capfd: Capture, outputs: Path, tmp_path: Path
) -> None:
    """Picture vectors are given, texts go through a tower and a head; the export of that is searched by text."""
    given = write_vectors(tmp_path, 60)
    tower = ("data.text_array=null", "++backbone.text_encoder={_target_:tests.tiny.Tiny,dim:32}")
    fit = (*tower, *heads("linear", "mlp"), *FIT, "trainer.max_epochs=1", "seed=5")
    fitted = run(capfd, outputs, "train", *arguments(given, *fit))
    assert "weights: 100% of the way" in fitted.out, "it is told from one whose heads are as they are drawn"
    made = run(capfd, outputs, "evaluate", "task=export", f"ckpt={fitted.folder}", "part=all")
    assert made.status == 0, made.err
    folder = max((outputs / "export").rglob("embeddings.npz"), key=lambda path: path.stat().st_mtime_ns).parent
    where = (
        *arguments(folder)[:2],
        "data.file=embeddings.npz",
        "data.image_names=image_names",
        "split=all",
        "part=all",
    )
    asking = ("prompt=caption", "backbone=precomputed", "backbone.dim=32", "query=red thing 3 number 1", "top_k=5")
    refused = run(capfd, outputs, "retrieve", *where, *asking)
    assert refused.status == 2
    assert "of an export: text_ckpt=export" in refused.err
    answered = run(capfd, outputs, "retrieve", *where, *asking, "backbone.text_ckpt=export")
    assert answered.status == 0, answered.err
    direct = run(capfd, outputs, "retrieve", f"ckpt={fitted.folder}", "part=all", *asking[-2:])
    assert direct.status == 0, direct.err
    assert named_pictures(answered) == named_pictures(direct)
    again = ("task=export", *asking[:3], "backbone.text_ckpt=export", f"hydra.run.dir={tmp_path / 'again'}")
    made = run(capfd, outputs, "evaluate", *where, *again)
    assert made.status == 0, made.err
    copied = (where[0], f"data.root={tmp_path / 'again'}", *where[2:])
    second = run(capfd, outputs, "retrieve", *copied, *asking, "backbone.text_ckpt=export")
    assert second.status == 0, second.err
    assert named_pictures(second) == named_pictures(direct), "the tower of the first, as the export of the export says"
    other = run(capfd, outputs, "retrieve", *arguments(given), *asking[-2:], "backbone.text_ckpt=export", "part=all")
    assert other.status == 2
    assert "is no folder that task=export left" in other.err


def test_what_names_itself_as_its_maker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "maker_of", lambda cfg, _: (cfg, None))
    with pytest.raises(ConfigError, match=r"backbone.text_ckpt=export: it names itself"):
        reading.given_backbone(OmegaConf.create({"backbone": {"text_ckpt": "export"}, "data": {"root": "there"}}))


def named_pictures(ran: Ran) -> list[str]:
    one = read_runs(ran.folder / "run.trec")["t2i"]
    return [one.item_ids[i] for i in one.index[0]]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("backbone.image_width=64", *heads("residual", "mlp")), "backbone.image_head=residual: 64 numbers come in"),
        (
            (*heads("mlp", "mlp"), "backbone.image_width=64"),
            "backbone.image_width=64: the image embeddings of data=npz have 32",
        ),
        (("data.text_array=null",), "for its texts name a text tower: +backbone@backbone.text_encoder=minilm"),
        (("backbone.text_ckpt=nowhere",), "ckpt=nowhere: no checkpoint there"),
        ((*heads("mlp", "mlp"), "backbone.image_head.dropout=1.5"), "dropout=1.5: within [0, 1)"),
        ((*heads("low_rank", "mlp"), "backbone.image_head.rank=0"), "rank=0: at least 1"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    capfd: Capture, outputs: Path, given: Path, more: tuple[str, ...], told: str
) -> None:
    ran = run(capfd, outputs, "evaluate", *arguments(given, *more))
    assert ran.status == 2, ran.out
    assert told in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_vectors_without_a_head_name_the_head_that_can_be_trained(capfd: Capture, outputs: Path, given: Path) -> None:
    for adaptation in ("heads", "full"):
        refused = run(capfd, outputs, "train", *arguments(given, *FIT), f"adaptation={adaptation}")
        one_line(
            refused, f"adaptation={adaptation}: precomputed has no head", "backbone/head@backbone.image_head=linear"
        )
    more = ("backbone/head@backbone.image_head=linear", "trainer.max_epochs=1")
    assert run(capfd, outputs, "train", *arguments(given, *FIT), *more).status == 0


@pytest.mark.parametrize(
    ("adaptation", "texts", "told"),
    [
        ("lock_image", "given", "adaptation=lock_image: the text vectors of data=npz are given"),
        ("full", "given", "adaptation=full: the image and text vectors of data=npz are given"),
        ("full", "encoded", "the image vectors of data=npz are given, so no trunk makes them that could learn; take "),
    ],
)
def test_a_tower_whose_vectors_are_given_does_not_learn(
    capfd: Capture, outputs: Path, tmp_path: Path, adaptation: str, texts: str, told: str
) -> None:
    """It learned from tokens, and the fit was scored by the vectors that it no longer makes."""
    folder = write_vectors(tmp_path, 60)
    wide = ("backbone.text_width=32",) if texts == "given" else ("data.text_array=null", *TOWER)
    refused = run(
        capfd, outputs, "train", *arguments(folder, *wide, *heads("linear", "linear"), *FIT), f"adaptation={adaptation}"
    )
    one_line(refused, told, "adaptation=heads")
    assert ("lock_image" in refused.err.partition("take ")[2]) == (texts == "encoded")


def test_heads_by_chance_are_called_so(capfd: Capture, outputs: Path, tmp_path: Path) -> None:
    """Also where texts go through MiniLM before."""
    given = arguments(write_vectors(tmp_path, 24), "data.text_array=null", *TOWER)
    ran = run(capfd, outputs, "evaluate", *given, *heads("mlp", "linear"))
    assert ran.status == 0, ran.err
    told = "the heads of precomputed(mlp, linear)+sentences(minilm-l6) are untrained, so these are chance results"
    assert told in ran.out + ran.err
