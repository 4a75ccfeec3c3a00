"""Files of those who mean harm: manifests, weights, tables and archives."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hostile.tries import Row, note
from hostile.world import PROJECT, Ran, World, copy_job, sign, tree
from picdesk.errors import UserError
from picdesk.jobs.archive import unpack


def manifests(made: World) -> Row:
    """Signed manifests and files beside them that say odd things, opened by reproduce=, leaderboard and compare."""
    row = Row("manifests, metrics and files beside them")
    odd: dict[str, Callable[[Path], object]] = {
        "a file outside": lambda job: sign(job, lambda m: m["files"].update({"../../home/diary.csv": "0" * 64})),
        "a task of another kind": lambda job: sign(job, lambda m: m.update(task="index_remove")),
        "HTML in the command": lambda job: sign(job, lambda m: m.update(command=["<script>alert(1)</script>"])),
        "a terminal's orders": lambda job: sign(job, lambda m: m.update(command=["\x1b[2J"])),
        "a number that is none": lambda job: (job / "metrics.json").write_text('{"t2i": {"metrics": {"hits@1": NaN}}}'),
        "a number without end": lambda job: (job / "metrics.json").write_text('{"t2i": ' + "9" * 100_000 + "}"),
        "deep nesting": lambda job: (job / "metrics.json").write_text("[" * 100_000),
        "a list of metrics": lambda job: (job / "metrics.json").write_text('{"t2i": [1], "i2t": {"metrics": []}}'),
        "a run of nothing": lambda job: (job / "run.trec").write_text("\x00" * 100),
        "a number in a failure": lambda job: (job / "failure.json").write_text("3"),
        "a pointer to anywhere": lambda job: (job / "same_as.json").write_text('{"folder": "/etc"}'),
        "a pointer that is none": lambda job: (job / "same_as.json").write_text("[1]"),
        "overrides that ask": lambda job: (job / ".hydra" / "overrides.yaml").write_text(
            "- x=${oc.env:A_CANARY_SECRET}\n"
        ),
        "overrides of objects": lambda job: (job / ".hydra" / "overrides.yaml").write_text(
            "- !!python/name:os.system x\n"
        ),
        "overrides with HTML": lambda job: (job / ".hydra" / "overrides.yaml").write_text(
            "- seed=<script>alert(1)</script>\n"
        ),
        "overrides that bring plug-ins": lambda job: (job / ".hydra" / "overrides.yaml").write_text(
            "- plugins=[evil]\n"
        ),
    }
    for what, change in odd.items():
        for door in ("reproduce", "leaderboard", "compare"):
            folder = copy_job(made, "evaluate", "job")
            other = copy_job(made, "evaluate", "other")
            change(folder)
            asked = {
                "reproduce": (f"reproduce={folder / 'manifest.json'}",),
                "leaderboard": ("task=leaderboard", f"dir={folder.parent}"),
                "compare": ("task=compare", f"dir={folder}", f"against={other}"),
            }[door]
            before = tree(made.home)
            ran = made.door("evaluate", *asked, f"paths.data_root={made.root / 'data'}")
            pages = [*folder.parent.glob("*.html"), *(made.root / "out").rglob("*.html")]
            live = [page.name for page in pages if "<script>alert" in page.read_text()]
            best = folder.parent / "best.yaml"
            pasted = best.is_file() and any(word in best.read_text() for word in ("evil", "oc.env"))
            note(row, made, ran, f"{what} at {door}", before)
            row.silent_changes += bool(live) + pasted
            row.notes += [f"{what} at {door}: live in {live}, pasted {pasted}"] if live or pasted else []
            shutil.rmtree(folder.parent)
    return row


def evil_pickle(made: World) -> bytes:
    """A pickle that touches the canary."""

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (made.canary,))

    return pickle.dumps(Harm())


def weights(made: World) -> Row:
    """Weights files that are something else, or whose header lies."""
    row = Row("weights: headers and pickles")
    evil, whole = evil_pickle(made), (made.jobs["train"] / "checkpoint" / "model.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")

    def header(text: str, data: bytes = b"") -> bytes:
        return struct.pack("<Q", len(text)) + text.encode() + data

    zeroed = bytearray(whole)
    zeroed[8 + length + 1000 : 8 + length + 5096] = bytes(4096)
    forms = {
        "a pickle": evil,
        "a torch archive": torch_pickle(made),
        "an absurd length": struct.pack("<Q", 2**63) + whole[8:],
        "a length past the end": struct.pack("<Q", len(whole) * 2) + whole[8:],
        "no length": b"",
        "no header": header("{}"),
        "no JSON": header("{" * 100),
        "deep JSON": header("[" * 100_000),
        "offsets past the end": header('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1099511627776]}}'),
        "offsets that run back": header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}', bytes(8)),
        "a shape that overflows": header(
            '{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}', bytes(4)
        ),
        "a type that is none": header('{"a":{"dtype":"PICKLE","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        "a note that is no table": header('{"__metadata__":{"picdesk":"[1]"}}'),
        "a zeroed block": bytes(zeroed),
        "cut short": whole[:-100],
        "one byte more": whole + b"x",
    }
    for what, content in forms.items():
        folder = copy_job(made, "train", "job") / "checkpoint"
        shutil.copyfile(made.jobs["train"] / "checkpoint" / "config.yaml", folder / "config.yaml")
        (folder / "model.safetensors").write_bytes(content)
        before = tree(made.home)
        note(row, made, made.door("evaluate", f"ckpt={folder}", f"paths.data_root={made.root / 'data'}"), what, before)
    for what, content in (("a pickle as state", evil), ("a torch pickle as state", torch_pickle(made))):
        folder = copy_job(made, "train", "job")
        (folder / "resume" / "state.pt").write_bytes(content)
        shutil.copyfile(made.jobs["train"] / "resume" / "config.yaml", folder / "resume" / "config.yaml")
        before = tree(made.home)
        note(row, made, made.door("train", f"resume={folder}", f"paths.data_root={made.root / 'data'}"), what, before)
    return row


def torch_pickle(made: World) -> bytes:
    """What torch.save makes of an object with orders in it."""
    import torch

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (made.canary,))

    stream = io.BytesIO()
    torch.save({"state": Harm()}, stream)
    return stream.getvalue()


def tables(made: World) -> Row:
    """Data files whose headers lie, or that hold pickles."""
    row = Row("data files: parquet headers, npz pickles")
    evil = np.empty(1, object)
    evil[0] = made.canary
    stream = io.BytesIO()
    np.savez(stream, image_embeddings=evil, text_embeddings=evil)
    whole = (PROJECT / "data" / "demo.parquet").read_bytes()
    parquets = {
        "an absurd footer": whole[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1",
        "a footer of zeros": whole[:-1008] + bytes(1000) + whole[-8:],
        "only magic": b"PAR1" * 3,
        "a pickle": evil_pickle(made),
        "cut short": whole[: len(whole) // 2],
    }
    for what, content in {
        **parquets,
        "npz of objects": stream.getvalue(),
        "npz that is a pickle": evil_pickle(made),
    }.items():
        folder = made.root / "data" / "hostile"
        folder.mkdir(exist_ok=True)
        kind = "npz" if "npz" in what else "parquet"
        (folder / f"x.{kind}").write_bytes(content)
        (folder / "captions.csv").write_text("image,caption\na.png,a\n")
        before = tree(made.home)
        note(
            row,
            made,
            made.door("evaluate", "task=check", f"data={kind}", f"data.root={folder}", f"data.file=x.{kind}"),
            what,
            before,
        )
    return row


def archives(made: World) -> Row:
    """Archives that would write elsewhere, fill the disk, or are not what they say."""
    row = Row("pack --unpack: archives")
    job = made.jobs["evaluate"]

    def pack(*entries: tuple[str, bytes, bytes], link: str = "") -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, kind, content in entries:
                entry = tarfile.TarInfo(name)
                entry.type, entry.size, entry.linkname = kind, len(content), link
                archive.addfile(entry, io.BytesIO(content))
        return stream.getvalue()

    plain, manifest = tarfile.REGTYPE, ("manifest.json", tarfile.REGTYPE, (job / "manifest.json").read_bytes())
    forms = {
        "an absolute path": pack(manifest, (str(made.canary), plain, b"x")),
        "up and out": pack(manifest, ("../CODE-RAN", plain, b"x")),
        "up within": pack(manifest, ("checkpoint/../../CODE-RAN", plain, b"x")),
        "a soft link": pack(manifest, ("config.yaml", tarfile.SYMTYPE, b""), link=str(made.home / "diary.csv")),
        "a hard link": pack(manifest, ("config.yaml", tarfile.LNKTYPE, b""), link=str(made.home / "diary.csv")),
        "a device": pack(manifest, ("config.yaml", tarfile.CHRTYPE, b"")),
        "a pipe": pack(manifest, ("config.yaml", tarfile.FIFOTYPE, b"")),
        "a folder": pack(manifest, ("config.yaml", tarfile.DIRTYPE, b"")),
        "a name twice": pack(manifest, manifest),
        "a page": pack(manifest, ("index.html", plain, b"<script>")),
        "a hidden file": pack(manifest, (".hydra/overrides.yaml", plain, b"- x")),
        "code": pack(manifest, ("conf.py", plain, b"import os")),
        "a name that is no text": pack(manifest, ("config.yaml\x00.py", plain, b"x"), ("caf\udcc3.yaml", plain, b"x")),
        "another manifest": pack(("manifest.json", plain, b"{}")),
        "no manifest": pack(("config.yaml", plain, b"x")),
        "files that are not the manifest's": pack(manifest, ("config.yaml", plain, b"x")),
        "a bomb": gzip.compress(bytes(512) * 400_000, 1),
        "a bomb in an entry": pack(manifest, ("run.trec", plain, bytes(80 << 20))),
        "cut short": pack(manifest)[:-30],
        "no archive": b"PK\x03\x04" + bytes(100),
    }
    for what, content in forms.items():
        file, to = made.root / "x.tar.gz", made.root / "unpacked"
        file.write_bytes(content)
        before, traceback, said, status = tree(made.home), False, "", 0
        try:
            unpack(file, to, most_bytes=64 << 20)
        except UserError as error:
            said, status = str(error), 2
        except BaseException as error:
            said, status, traceback = repr(error), 1, True
        left = to.exists() or any(path.name.startswith(".unpacked") for path in made.root.iterdir())
        note(row, made, Ran(status, said, traceback), what, before)
        row.silent_changes += left
        row.notes += [f"{what}: left something"] if left else []
        shutil.rmtree(to, ignore_errors=True)
    return row
