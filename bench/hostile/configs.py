"""Configs of those who mean harm: that name code, ask the machine, reach out of the job, or are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hostile.world import Plain, World

Change = Callable[[Plain], object]


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
