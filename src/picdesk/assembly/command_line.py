"""The command line as people type it.

Which arguments are flags, which are `key=value` and which are what is searched for; where the keys of tasks stand; what Hydra
says of it all, in one line. The values are put into quotes where that is needed by `assembly.quoting`.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from picdesk.assembly.quoting import FREE_TEXTS, OVERRIDE, as_question, in_quotes, quoted_override
from picdesk.errors import ConfigError, UserError

FORMER_TASKS = {"tune": "tune_index"}
"""What the values of a task stood below before, where that was not the name of the task."""
FORMER_KEYS = {"tune_index": {"queries": "timed_queries"}}
"""What a value of a task was called before, by the task."""
TAKES_A_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd"),
)
PICKLED = "--experimental-rerun"
"""Hydra's flag for a pickled config, which lies in a job's folder: to read one is to run whatever its maker put there."""
FLAGS = (
    *(*TAKES_A_VALUE, "--help", "-h", "--hydra-help", "--version", "--resolve", "--shell-completion", "-sc"),
    *("--info", "-i", "--run", "-r", "--multirun", "-m"),
)
COMPLETION = ("--shell-completion", "-sc")
SWEEPS = ("--multirun", "-m", "hydra.mode=MULTIRUN")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
SEARCH = "hydra.searchpath="
KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}


def door_arguments(typed: Sequence[str], takes_text: bool = False) -> list[str]:
    """`hydra_arguments` at a door of the project. What a shell asks in order to complete a line is Hydra's own.

    Raises `ConfigError` for a flag by which Hydra would unpickle a file, however much of it is spelled out.
    """
    if any(PICKLED.startswith(argument.partition("=")[0]) for argument in typed if argument.startswith("--ex")):
        raise ConfigError(
            f"{PICKLED}: a pickled config could run code, and no door reads one; reproduce=JOB_FOLDER has a job again"
        )
    if any(argument in COMPLETION for argument in typed):
        return list(typed)
    from picdesk.assembly.schema import task_keys, top_keys

    refuse_typed_secrets(typed)
    known, tasks = top_keys(), task_keys()
    given = hydra_arguments(with_current_keys(typed), known.union(tasks, FORMER_TASKS, *tasks.values()), takes_text)
    return with_plugin_options(with_used_rerankers(of_another_config(in_tasks(given, known, tasks))))


def of_another_config(arguments: list[str]) -> list[str]:
    """The arguments; beside `reproduce=` each key of a group with the sign by which Hydra takes what the chosen option does not
    list: `reranker.file=PLACE` is of the reranker of the job that is had again, which no option chosen here is."""
    if not any(argument.startswith("task.reproduce=") for argument in arguments):
        return arguments
    from picdesk.assembly.schema import CONF

    groups = {path.name for path in CONF.iterdir() if path.is_dir()}.difference(("task", "hydra", "paths"))
    made = []
    for argument in arguments:
        match = OVERRIDE.fullmatch(argument)
        group, _, rest = match["key"].partition(".") if match else ("", "", "")
        is_added = rest and not re.search("[/@]", argument.partition("=")[0]) and group in groups
        made.append(f"++{argument.lstrip('+')}" if is_added else argument)
    return made


def refuse_typed_secrets(typed: Sequence[str]) -> None:
    """Raise `ConfigError` for a secret among the arguments, before Hydra has written them down."""
    from picdesk.network import refuse_secrets

    for match in filter(None, map(OVERRIDE.fullmatch, typed)):
        refuse_secrets(match["value"].strip("'\""), match["key"], FREE_TEXTS)


def with_used_rerankers(arguments: list[str]) -> list[str]:
    """The arguments, with each reranker that `reranker.use` names among the parts of `reranker=several`, if it is not there."""
    from picdesk.assembly.schema import CONF, several_rerankers

    used = [name for argument in arguments if argument.startswith("reranker.use=") for name in values_of(argument)]
    folders = [CONF, *plugin_folders(arguments)] if used else []
    there, given = several_rerankers() if used else set(), " ".join(arguments)
    added = []
    for name in dict.fromkeys(used):
        is_option = any((folder / "reranker" / f"{name}.yaml").is_file() for folder in folders)
        if is_option and name not in there and f"reranker.parts.{name}=" not in given:
            added.append(f"+reranker@reranker.parts.{name}={name}")
    return [*added, *arguments]


def plugin_folders(arguments: Sequence[str]) -> list[Path]:
    """The `conf` folders of the plug-ins that are named, or installed so. Raises `ConfigError` for what is no package."""
    from picdesk.assembly.allowed import installed_plugins, option_folders

    named = [name for argument in arguments if argument.startswith("plugins=") for name in values_of(argument)]
    return option_folders([*named, *installed_plugins()])


def with_plugin_options(arguments: list[str]) -> list[str]:
    """The arguments, with the `conf` folders of the user's plug-ins on Hydra's search path."""
    folders = [f"file://{folder}" for folder in plugin_folders(arguments)]
    before = [argument for argument in arguments if argument.startswith(SEARCH)]
    places = [*(place for argument in before for place in values_of(argument)), *folders]
    if not folders:
        return arguments
    listed = ",".join(in_quotes(place) for place in dict.fromkeys(places))
    return [*(argument for argument in arguments if argument not in before), f"{SEARCH}[{listed}]"]


def values_of(override: str) -> list[str]:
    """The texts of an override that is a list, or one text."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    read = OverridesParser.create().parse_override(override)
    values = list(read.sweep_iterator()) if read.is_sweep_override() else [read.value()]
    return [str(one) for value in values for one in (value if isinstance(value, list) else [value])]


def hydra_arguments(typed: Sequence[str], known: Collection[str], takes_text: bool = False) -> list[str]:
    """Arguments for Hydra that mean what was typed.

    `known` are the top-level keys and groups of the config. Where the door `takes_text`, one argument that is neither a flag
    nor `key=value` is what is searched for: a picture's file (`image=`), a file of queries (`queries=`), else a text (`query=`).
    Raises `ConfigError` for an argument that nobody could read.
    """
    sweep = any(argument in SWEEPS for argument in typed)
    made: list[str] = []
    bare: list[str] = []
    value_comes = False
    for place, argument in enumerate(typed):
        if value_comes or (made and made[-1] in ("--info", "-i") and argument in INFO):
            made.append(argument)
            value_comes = False
        elif is_flag(argument, typed[place + 1 : place + 2]):
            made.append(argument)
            value_comes = argument in TAKES_A_VALUE
        elif is_override(argument, known, takes_text):
            made.append(quoted_override(argument, sweep))
        else:
            bare.append(argument)
    return made + ([as_question(bare, made)] if takes_text and bare else refuse(bare))


def with_current_keys(typed: Sequence[str]) -> list[str]:
    """The arguments with each key of a task under the name that it has now: `tune.queries=`, or `queries=` beside the task."""
    task = next((argument.partition("=")[2] for argument in typed if argument.startswith("task=")), "")
    made = []
    for argument in typed:
        key, _, value = argument.partition("=")
        before, _, last = key.rpartition(".")
        now = FORMER_KEYS.get(task if before in ("", "task") else FORMER_TASKS.get(before, before), {}).get(last)
        made.append(f"{before}{'.' if before else ''}{now}={value}" if now else argument)
    return made


def in_tasks(arguments: Sequence[str], known: Collection[str], tasks: Mapping[str, Collection[str]]) -> list[str]:
    """The arguments with each key of a task where the config has it: `query=` and `retrieve.query=` are `task.query=`.

    `known` are the top-level keys and groups of the config, `tasks` the keys of each task.
    """
    own = {key for keys in tasks.values() for key in keys}
    made = []
    for argument in arguments:
        match = OVERRIDE.fullmatch(argument)
        first, _, rest = match["key"].partition(".") if match else ("", "", "")
        if match and first not in known and (first in own or FORMER_TASKS.get(first, first) in tasks):
            key = match["key"] if first in own else rest
            argument = f"{match['sign']}task.{key}={match['value']}"
        made.append(argument)
    return made


def is_flag(argument: str, following: Sequence[str] = ()) -> bool:
    """Whether this is one of Hydra's flags. Raises `ConfigError` for a flag that Hydra does not have, with what to write instead:
    its value stands behind an equals sign, or is the argument `following` it."""
    if not argument.startswith("-") or re.search(r"\s", argument.partition("=")[0]):
        return False
    name, _, value = argument.partition("=")
    if name in FLAGS or re.fullmatch(r"-[rmh]+", name):
        return True
    key = name.lstrip("-").replace("-", "_") or "KEY"
    is_value = following and not following[0].startswith("--") and not OVERRIDE.fullmatch(following[0])
    told = value or (following[0] if is_value else "VALUE")
    raise ConfigError(f"{argument}: a config value has no dashes before it; write {key}={shlex.quote(told)}")


def is_override(argument: str, known: Collection[str], takes_text: bool) -> bool:
    """Whether this is `key=value`, `+key=value`, `~key`, and not a sentence with an equals sign in it."""
    match = OVERRIDE.fullmatch(argument)
    if match is None:
        return bool(re.fullmatch(r"~[A-Za-z_][\w./@:$-]*(=.*)?", argument, re.S))
    first = re.split(r"[./@:]", match["key"])[0]
    return first in known or not (takes_text and re.search(r"\s", argument))


def refuse(bare: Sequence[str]) -> list[str]:
    """No argument at all; `ConfigError` where there is one that has no key."""
    if bare:
        raise ConfigError(
            f"{bare[0]!r} is not KEY=VALUE; see --help for the keys, and retrieve.py to search for a text"
        )
    return []


def near_keys(key: str, known: Collection[str], most: int = 2) -> list[str]:
    """Known keys that somebody who wrote `key` may have meant: of a similar name first, then of the same last part."""
    last = key.rpartition(".")[2]
    similar = difflib.get_close_matches(key, known, most, cutoff=0.8)
    same = sorted(name for name in known if name.rpartition(".")[2] == last)
    top = difflib.get_close_matches(key.split(".")[0], {name for name in known if "." not in name}, most, cutoff=0.75)
    return [name for name in dict.fromkeys([*similar, *same, *top]) if name != key][:most]


def one_line(error: BaseException) -> str:
    """The message of an error, without line breaks, advice for Hydra's developers and internal names."""
    text = str(error) or type(error).__name__
    missing_option = re.search(
        r"Could not find '([^']+)'\s+Available options in '([^']+)':\s+(.*?)\s+Config search", text, re.S
    )
    if missing_option:
        wanted, group, options = missing_option.groups()
        return f"{group}={wanted.rsplit('/', 1)[-1]} is not an option; choose one of {', '.join(options.split())}"
    wrong_kind = re.search(r"could not be converted to (\w+)", f"{text} {error.__cause__}")
    merged = re.match(r"Error merging override (\S.*)", text, re.S)
    if merged and wrong_kind:
        return f"{merged[1].strip()}: {KINDS.get(wrong_kind[1], wrong_kind[1])} is wanted"
    if merged and re.search(r"Cannot merge \w+ with \w+", str(error.__cause__)):  # the same words, whichever was given
        from picdesk.assembly.schema import table_wanted

        given = merged[1].strip().lstrip("+")
        key, _, value = given.partition("=")
        return f"{given}: {table_wanted(key) if value[:1] == '[' else f'a list is wanted, as in {key}=[VALUE]'}"
    if merged and "is not a ListConfig" in str(error.__cause__):
        key, _, value = merged[1].strip().partition("=")
        return f"{key}={value}: a list is wanted, such as {key}=[{value}]"
    missing_key = re.search(r"(?:Could not override '([^']+)'|Key '([^']+)' (?:is )?not in)", text)
    if missing_key and not isinstance(error, UserError):
        return unknown_key(missing_key.group(1) or missing_key.group(2))
    missing_value = re.search(r"Missing mandatory value: (\S+)", text)
    if missing_value:
        return f"{missing_value.group(1)} must be given: add {missing_value.group(1)}=VALUE"
    kept = [
        line.strip() for line in text.splitlines() if line.strip() and not re.match(r"\s*(full_key|object_type)", line)
    ]
    return " ".join(kept)


def unknown_key(key: str) -> str:
    """What to say of an override of something that is not there: the keys that may have been meant, if any are near."""
    from picdesk.assembly.schema import conf_keys, task_keys, top_keys

    first, _, own = key.partition(".")
    takers = [name for name, keys in task_keys().items() if first == "task" and own.split(".")[0] in keys]
    if takers:
        return f"{own} belongs to {', '.join(f'task={name}' for name in takers)}; this task does not take it"
    near = near_keys(key, top_keys().union(conf_keys(), *task_keys().values()))
    passed_on = own and first in ("trainer", "optimizer") and "." not in "".join(near)
    hint = f"+{key}=VALUE goes to the library; " if passed_on else f"did you mean {' or '.join(near)}? " if near else ""
    return f"{key} is not a config option; {hint}see all with --cfg job"
