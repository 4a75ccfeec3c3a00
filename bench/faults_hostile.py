"""What somebody may send who means harm, tried for real at every door. `python bench/faults_hostile.py`, `rows()` for a table.

Each attempt is made on a copy of an honest job. Code that ran leaves a file, secrets of the environment are looked for in all
that was said, written and sent to a listener on this machine, and what an accepted attempt measured must be what the honest job
did.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np

from hostile_world import PROJECT, Plain, Ran, World, copied, edit, sign, tree, world
from picdesk.errors import UserError
from picdesk.jobs.archive import unpack

Change = Callable[[Plain], object]


@dataclass
class Row:
    """One line of the table."""

    kind: str
    tried: int = 0
    refused: int = 0
    unchanged: int = 0
    code_run: int = 0
    secrets_sent: int = 0
    silent_changes: int = 0
    tracebacks: int = 0
    notes: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As the table takes it."""
        shown = {key: value for key, value in vars(self).items() if key != "notes"}
        return shown | {"note": "; ".join(self.notes)}


def put(key: str, value: object) -> Change:
    """Set a dotted key of a config."""

    def change(cfg: Plain) -> None:
        *way, last = key.split(".")
        for name in way:
            cfg = cfg.setdefault(name, {})
        cfg[last] = value

    return change


def targets(made: World) -> dict[str, Change]:
    """Configs that name code."""
    touch = f"touch {made.canary}"
    harm: Plain = {"_target_": "picdesk.embedding.encoder.os.system", "command": touch}
    place = {"_target_": "pathlib.Path", "_args_": [str(made.canary)]}
    path = {"_target_": "picdesk.jobs.archive.Path.touch", "_args_": [place]}
    own = {"_target_": "picdesk.backbones.own_code.OwnCode", "model": str(made.root / "evil_model"), "allow_code": True}
    write = {"_target_": "picdesk.files.write_text", "path": str(made.canary), "text": "x"}
    return {
        "through a module of ours": put("prompt", harm),
        "by _args_": put("prompt", {"_target_": "picdesk.embedding.encoder.os.system", "_args_": [touch]}),
        "a function of ours that writes": put("prompt", write),
        "a method of what we import": put("prompt", path),
        "os.system": put("split", {"_target_": "os.system", "command": touch}),
        "subprocess.Popen": put("split", {"_target_": "subprocess.Popen", "args": ["sh", "-c", touch]}),
        "builtins.exec": put("prompt", {"_target_": "builtins.exec", "_args_": [f"open({str(made.canary)!r}, 'w')"]}),
        "runpy": put("prompt", {"_target_": "runpy.run_path", "path_name": str(made.root / "evil.py")}),
        "in a list": put("data.file", [harm]),
        "deep in a table": put("fusion.deep", {"a": [{"b": harm}]}),
        "by an interpolation": lambda cfg: (put("expected.h", harm)(cfg), put("prompt", "${expected.h}")(cfg)),
        "a target by an interpolation": lambda cfg: (
            put("expected.t", "os.system")(cfg),
            put("prompt", {"_target_": "${expected.t}", "command": touch})(cfg),
        ),
        "a partial function": put("prompt", harm | {"_partial_": True}),
        "a neighbour of a foreign class": put(
            "backbone", {"_target_": "torch.hub.load", "repo_or_dir": "x/y", "model": "z"}
        ),
        "torch.load": put(
            "backbone", {"_target_": "torch.load", "f": str(made.root / "evil.pt"), "weights_only": False}
        ),
        "its own plug-in": lambda cfg: (
            put("plugins", ["evil_package"])(cfg),
            put("prompt", {"_target_": "evil_package.Prompt"})(cfg),
        ),
        "the logger": put("logger", harm),
        "a callback of hydra": put("hydra", {"callbacks": {"x": harm}}),
        "code out of a folder": put("backbone", own),
        "behind a key with a dot": put(
            "reranker", {"_target_": "picdesk.rerankers.several.Several", "use": ["a.b"], "parts": {"a.b": own}}
        ),
        "behind a number as key": put(
            "reranker", {"_target_": "picdesk.rerankers.several.Several", "use": [1], "parts": {1: own}}
        ),
    }


def questions(made: World) -> dict[str, Change]:
    """Configs that ask the machine, or send what it knows."""
    env = "${oc.env:A_CANARY_SECRET}"
    server = made.listener.address
    endpoint = {
        "_target_": "picdesk.rerankers.endpoint.Endpoint",
        "answers": str(made.home / "answers"),
        "model": "x",
        "base_url": f"{server}/v1",
        "key_variable": "A_CANARY_SECRET",
        "retries": 0,
    }
    judge = {
        "_target_": "picdesk.rerankers.vlm_judge.VlmJudge",
        "language_model": endpoint,
        "system": "",
        "question": "{text}",
        "criteria": {"relevance": 1.0},
        "weight": 0.5,
        "top_k": 2,
    }
    online = {"_target_": "picdesk.report.wandb_media.JobWandbLogger", "save_dir": ".", "mode": "online"}
    return {
        "the environment in a name": put("data.name", env),
        "within a text": put("source", f"a {env} b"),
        "with a default": put("data.name", "${oc.env:A_CANARY_SECRET,none}"),
        "oc.decode": put("data.name", "${oc.decode:'${oc.env:A_CANARY_SECRET}'}"),
        "oc.create": put("choices.data", "${oc.create:{a: 1}}"),
        "hydra": put("data.name", "${hydra:runtime.cwd}"),
        "nested": lambda cfg: (
            put("expected.k", "oc.env")(cfg),
            put("data.name", "${${expected.k}:A_CANARY_SECRET}")(cfg),
        ),
        "joined": lambda cfg: (
            put("expected.a", "$")(cfg),
            put("expected.b", "{oc.env:A_CANARY_SECRET}")(cfg),
            put("data.name", "${expected.a}${expected.b}")(cfg),
        ),
        "escaped": put("data.name", "\\${oc.env:A_CANARY_SECRET}"),
        "in a key": put("choices", {env: "x"}),
        "under paths": put("paths.store", str(made.root / "out") + f"/{env}"),
        "a judge at an address": put("reranker", judge),
        "a writer at an address": put("language_model", endpoint),
        "milvus at an address": put(
            "index", {"_target_": "picdesk.search.milvus.MilvusIndex", "uri": server, "token": "x", "timeout": 1}
        ),
        "a hub id": put("backbone", {"_target_": "picdesk.backbones.transformers.Transformers", "model": "evil/model"}),
        "wandb online": put("logger", online),
    }


def reaches(made: World) -> dict[str, Change]:
    """Configs that reach out of the job, or are no configs."""
    home = str(made.home)
    return {
        "a folder of the user's": put("data.root", home),
        "up from the data": put("data.captions_file", "../../home/diary.csv"),
        "a file by its path": put("data.captions_file", f"{home}/diary.csv"),
        "a file of the system": put("data.captions_file", "/etc/passwd"),
        "a split file": put("split", {"_target_": "picdesk.data.splits.SplitFile", "file": f"{home}/diary.csv"}),
        "an index that is written": put("save_index", f"{home}/index"),
        "milvus in a file": put("index", {"_target_": "picdesk.search.milvus.MilvusIndex", "uri": f"{home}/m.db"}),
        "answers that are written": put("language_model.answers", f"{home}/answers"),
        "outputs": put("paths", {"outputs": home, "store": home, "output_dir": home, "project": "/", "data_root": "/"}),
        "a run of the user's": lambda cfg: cfg.update(run_file=f"{home}/diary.csv", qrels_file=f"{home}/diary.csv"),
        "a number for a table": put("data", 3),
        "a table for a number": put("top_k", {"a": 1}),
        "a list for a text": put("data.root", [1, 2]),
        "letters that steer a terminal": put("source", "\x1b]0;owned\x07"),
        "a name with a tag of HTML": put("data.name", "<script>alert(1)</script>"),
        "a path in a table that another place names": lambda cfg: (
            cfg.update(protocol={"file": f"{home}/diary.csv"}),
            put("fusion.deep", "${protocol}")(cfg),
        ),
        "a text that grows": lambda cfg: cfg.update(
            expected={**{f"n{i}": f"${{expected.n{i + 1}}}" * 10 for i in range(12)}, "n12": "x"}
        ),
        "resamples without end": put("bootstrap.resamples", 10**12),
        "a million letters": put("source", "x" * 5_000_000),
    }


TEXTS: Mapping[str, str] = {
    "a bomb of aliases": "backbone: {}\na: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "an object of Python": "backbone: !!python/object/apply:os.system ['touch CANARY']\n",
    "deep nesting": "backbone: {}\nx: " + "[" * 50_000 + "]" * 50_000,
    "half a file": "backbone: {",
    "bytes": "\x00\xff\xfe",
    "nothing": "",
}
DOORS = ("reproduce", "ckpt", "compare", "leaderboard", "index_dir", "resume")


def at_door(made: World, door: str, change: Change | str) -> Ran:
    """Send a changed job to a door; what the door did."""
    name = {"ckpt": "train", "resume": "train", "index_dir": "index"}.get(door, "evaluate")
    folder = copied(made, name, "job")
    own = {"ckpt": folder / "checkpoint", "resume": folder / "resume"}.get(door, folder)
    if isinstance(change, str):
        (own / "config.yaml").write_text(change.replace("CANARY", str(made.canary)), encoding="latin-1")
    else:
        edit(own / "config.yaml", change)
    if (folder / "manifest.json").is_file():
        sign(folder)
    honest = made.jobs["evaluate"]
    asked = {
        "reproduce": ("evaluate", f"reproduce={folder / 'manifest.json'}"),
        "ckpt": ("evaluate", f"ckpt={own}", "bootstrap.resamples=50"),
        "compare": ("evaluate", "task=compare", f"dir={folder}", f"against={honest}"),
        "leaderboard": ("evaluate", "task=leaderboard", f"dir={folder.parent}"),
        "index_dir": ("retrieve", "query=a caption", f"index_dir={folder}", f"ckpt={made.jobs['train']}"),
        "resume": ("train", f"resume={folder}"),
    }[door]
    return made.door(*asked, f"paths.data_root={made.root / 'data'}")


def note(row: Row, made: World, ran: Ran, what: str, before: str) -> None:
    """Count one attempt."""
    row.tried += 1
    secrets, code = made.secrets_out(ran.text), made.canary.exists()
    row.code_run += code
    row.secrets_sent += bool(secrets)
    row.tracebacks += ran.traceback
    touched = tree(made.home) != before
    if ran.status == 0:
        changed = touched or numbers_differ(made)
        row.silent_changes += changed
        row.unchanged += not changed
    else:
        row.silent_changes += touched
        row.refused += ran.status == 2
    if code or secrets or touched or ran.traceback or ran.status not in (0, 2):
        row.notes.append(f"{what}: exit {ran.status}: {' '.join(ran.text.split())[-200:]}")
    made.canary.unlink(missing_ok=True)
    made.listener.heard.clear()
    shutil.rmtree(made.root / "out", ignore_errors=True)


def numbers_differ(made: World) -> bool:
    """Whether a reproduction that passed measured something else than the honest job."""
    found = sorted((made.root / "out" / "evaluate").rglob("metrics.json"))
    honest = made.jobs["evaluate"] / "metrics.json"
    theirs = [path.read_bytes() for path in found if "reproduce=" in (path.parent / "manifest.json").read_text()]
    return any(content != honest.read_bytes() for content in theirs)


def configs(made: World, door: str, every: bool) -> list[Row]:
    """Hostile configs at a door: all of them at reproduce=, and of each kind some (or all) at the others."""
    found = []
    kinds: dict[str, Mapping[str, Change | str]] = {"code": targets(made), "questions and addresses": questions(made)}
    kinds |= {"paths and kinds": reaches(made), "no YAML of ours": TEXTS}
    for kind, attacks in kinds.items():
        row = Row(f"{door}: {kind}")
        for i, (what, change) in enumerate(attacks.items()):
            if every or door == "reproduce" or i % 4 == 0:
                before = tree(made.home)
                note(row, made, at_door(made, door, change), what, before)
        found.append(row)
    return found


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
            folder = copied(made, "evaluate", "job")
            other = copied(made, "evaluate", "other")
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
        folder = copied(made, "train", "job") / "checkpoint"
        shutil.copyfile(made.jobs["train"] / "checkpoint" / "config.yaml", folder / "config.yaml")
        (folder / "model.safetensors").write_bytes(content)
        before = tree(made.home)
        note(row, made, made.door("evaluate", f"ckpt={folder}", f"paths.data_root={made.root / 'data'}"), what, before)
    for what, content in (("a pickle as state", evil), ("a torch pickle as state", torch_pickle(made))):
        folder = copied(made, "train", "job")
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

    def packed(*entries: tuple[str, bytes, bytes], link: str = "") -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, kind, content in entries:
                entry = tarfile.TarInfo(name)
                entry.type, entry.size, entry.linkname = kind, len(content), link
                archive.addfile(entry, io.BytesIO(content))
        return stream.getvalue()

    plain, manifest = tarfile.REGTYPE, ("manifest.json", tarfile.REGTYPE, (job / "manifest.json").read_bytes())
    forms = {
        "an absolute path": packed(manifest, (str(made.canary), plain, b"x")),
        "up and out": packed(manifest, ("../CODE-RAN", plain, b"x")),
        "up within": packed(manifest, ("checkpoint/../../CODE-RAN", plain, b"x")),
        "a soft link": packed(manifest, ("config.yaml", tarfile.SYMTYPE, b""), link=str(made.home / "diary.csv")),
        "a hard link": packed(manifest, ("config.yaml", tarfile.LNKTYPE, b""), link=str(made.home / "diary.csv")),
        "a device": packed(manifest, ("config.yaml", tarfile.CHRTYPE, b"")),
        "a pipe": packed(manifest, ("config.yaml", tarfile.FIFOTYPE, b"")),
        "a folder": packed(manifest, ("config.yaml", tarfile.DIRTYPE, b"")),
        "a name twice": packed(manifest, manifest),
        "a page": packed(manifest, ("index.html", plain, b"<script>")),
        "a hidden file": packed(manifest, (".hydra/overrides.yaml", plain, b"- x")),
        "code": packed(manifest, ("conf.py", plain, b"import os")),
        "a name that is no text": packed(
            manifest, ("config.yaml\x00.py", plain, b"x"), ("caf\udcc3.yaml", plain, b"x")
        ),
        "another manifest": packed(("manifest.json", plain, b"{}")),
        "no manifest": packed(("config.yaml", plain, b"x")),
        "files that are not the manifest's": packed(manifest, ("config.yaml", plain, b"x")),
        "a bomb": gzip.compress(bytes(512) * 400_000, 1),
        "a bomb in an entry": packed(manifest, ("run.trec", plain, bytes(80 << 20))),
        "cut short": packed(manifest)[:-30],
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


def processes(made: World) -> Row:
    """Some of them once more as a user does it, each in a process of its own."""
    row = Row("in processes of their own")
    attacks = {**dict(list(targets(made).items())[:2]), **dict(list(questions(made).items())[:1])}
    for what, change in attacks.items():
        folder = copied(made, "evaluate", "job")
        edit(folder / "config.yaml", change)
        sign(folder)
        before = tree(made.home)
        asked = (f"reproduce={folder / 'manifest.json'}", f"paths.outputs={made.root / 'out'}", "logger=none")
        done = subprocess.run(
            [sys.executable, str(PROJECT / "evaluate.py"), *asked, f"paths.data_root={made.root / 'data'}"],
            capture_output=True, text=True, check=False, cwd=PROJECT,
        )  # fmt: skip
        text = done.stdout + done.stderr
        note(row, made, Ran(done.returncode, text, "Traceback" in text), what, before)
    return row


def rows(every: bool = False, only: str = "") -> list[dict[str, Any]]:
    """A row for each kind: how many were tried, refused or without effect, and what must be 0; `only` those of this name."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as made:
        (made.root / "evil.py").write_text(f"open({str(made.canary)!r}, 'w')\n")
        (made.root / "evil.pt").write_bytes(torch_pickle(made))
        kept = made.root / "honest"
        shutil.copytree(made.root / "out", kept)
        made.jobs |= {name: kept / made.jobs[name].relative_to(made.root / "out") for name in ("evaluate", "train")}
        honest = made.door("evaluate", f"reproduce={made.jobs['evaluate'] / 'manifest.json'}")
        assert honest.status == 0, honest.text
        shutil.rmtree(made.root / "out")
        ways: dict[str, Callable[[World], list[Row]]] = {
            door: partial(configs, door=door, every=every) for door in DOORS
        }
        ways |= {way.__name__: one_row(way) for way in (manifests, weights, tables, archives, processes)}
        found: list[dict[str, Any]] = []
        for name, way in ways.items():
            if only in ("", name):
                found += [row.plain() for row in way(made)]
                print("\n".join(json.dumps(row) for row in found[-4:]), file=sys.stderr, flush=True)
        return found


def one_row(way: Callable[[World], Row]) -> Callable[[World], list[Row]]:
    """The same, as a list."""
    return lambda made: [way(made)]


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--every"]
    for line in rows("--every" in sys.argv, *words[:1]):
        print(json.dumps(line))
