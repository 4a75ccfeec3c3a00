"""What can be said of a command before anything costly is loaded or read: wrong values of what was typed, and files not there.

Nothing here imports torch. What is looked at here is looked at again where it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from picdesk.assembly import named
from picdesk.assembly.build import build, plugins_of
from picdesk.assembly.quoting import FREE_TEXTS
from picdesk.errors import ConfigError, MissingFileError, check_fraction, refuse_nan
from picdesk.network import refuse_secrets
from picdesk.text.lines import plain_line

log = logging.getLogger(__name__)

LIGHT = ("split", "prompt", "scores", "fusion")
"""Groups whose classes load nothing heavy: what was chosen of them is built."""
BROUGHT = ("split", "prompt")
"""Of them, what a checkpoint brings where the command line chooses no other."""
LIGHT_RERANKERS = ("picdesk.rerankers.lexical.Lexical",)
OPEN_TASKS = ("doctor",)
"""Tasks that list what is missing, and so do not stop at the first such thing."""
OF_OTHERS = ("index_dir", "reproduce", "dir", "run_file")
"""Keys of tasks that open what another job left, whose config then decides."""
WORDS_TOO = ("trainer.devices",)
"""Keys with a number in the config that take a word as well."""
KINDS = ((bool, "true or false"), (int, "a whole number"), (float, "a number"))


FRACTIONS = ("data.max_bad_fraction", "forget_on.data.max_bad_fraction", "tolerance")


def tell_repeated() -> None:
    """Say of each key that stands twice on the command line which value counts; Hydra takes the last without a word."""
    typed = [override.removeprefix("task.") for override in named.overrides()]
    keys = [override.partition("=")[0] for override in typed]
    for key in dict.fromkeys(key for key in keys if keys.count(key) > 1):
        last = plain_line(typed[len(keys) - 1 - keys[::-1].index(key)])
        log.warning("%s stands %d times on the command line: the last counts, %s", key, keys.count(key), last)


class Typed:
    """The values of a config, of which those that the command line names are looked at."""

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg
        self.files: dict[str, DictConfig | None] = {}

    @cached_property
    def chosen(self) -> dict[str, str]:
        """The option of each group."""
        return named.options_chosen(self.cfg.choices)

    def file_of(self, option: str) -> DictConfig | None:
        """The file of a chosen option, which is read once for all keys of its group."""
        from picdesk.assembly.allowed import option_folders
        from picdesk.assembly.replaced import option_of
        from picdesk.assembly.schema import CONF

        if option not in self.files:
            self.files[option] = option_of([CONF, *option_folders(plugins_of(self.cfg))], f"{option}.yaml")
        return self.files[option]

    def check(self, door: str) -> None:
        """Raise `ConfigError` for what is wrong with the typed values, `MissingFileError` for a checkpoint not there."""
        self.check_door(door)
        self.check_parts()
        keys = [key for key in named.named_keys() if "/" not in key and "@" not in key]
        for key in keys:
            self.check_kind(key)
        self.check_limit()
        self.check_fractions()
        self.check_secrets()
        if self.cfg.filter:
            from picdesk.filters.language import parse_filter

            parse_filter(str(self.cfg.filter))
        if str(self.cfg.task.get("name")) in OPEN_TASKS:
            return
        self.check_rerankers(keys)
        if not any(self.cfg.task.get(name) for name in OF_OTHERS):
            self.check_checkpoints()
            self.check_light(keys)

    def check_door(self, door: str) -> None:
        """The task is one of this door."""
        from picdesk.assembly.schema import refuse_other_door

        refuse_other_door(str(self.cfg.task.get("name")), str(self.cfg.task.get("door")), door)

    def check_parts(self) -> None:
        """The names of parts are names of parts."""
        from picdesk.data.splits import PARTS

        for key, node in (("part", self.cfg), ("forget_on.part", self.cfg.forget_on)):
            name = node.get("part", "all")
            if name not in PARTS:
                raise ConfigError(f"{key}={name}: choose one of {', '.join(PARTS)}")

    def check_kind(self, key: str) -> None:
        """Where the chosen option has a number, or true or false, no text was typed; where it has a table, a table was."""
        value, default = OmegaConf.select(self.cfg, key, throw_on_resolution_failure=False), self.default_of(key)
        if OmegaConf.is_dict(default) and value is not None and not OmegaConf.is_dict(value):
            from picdesk.assembly.schema import table_wanted

            raise ConfigError(f"{key}={value}: {table_wanted(key)}")
        if not isinstance(value, str) or key in WORDS_TOO:
            return
        for kind, words in KINDS:
            if isinstance(default, kind):
                told = named.with_task(key, str(self.cfg.task.get("name")))
                raise ConfigError(f"{told}={value}: {words} is wanted")

    def default_of(self, key: str) -> Any:
        """What the file of the chosen option has under a key, as it stands there; None where it has nothing."""
        group, *rest = key.split(".")
        chosen = self.chosen.get(group)
        if group == "reranker" and rest[:1] == ["parts"]:
            chosen, rest = rest[1] if len(rest) > 1 else None, rest[2:]
        if not chosen or not rest:
            return None
        option = self.file_of(f"{group}/{chosen}")
        return None if option is None else OmegaConf.select(option, ".".join(rest), throw_on_resolution_failure=False)

    def check_limit(self) -> None:
        """`data.limit` is a number of pictures."""
        limit = self.cfg.data.get("limit")
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise ConfigError(f"data.limit={limit}: a whole number of pictures is needed, 1 at least")

    def check_fractions(self) -> None:
        """How much may be bad, and how far numbers may differ, are shares; nothing is nan."""
        for key in FRACTIONS:
            value = OmegaConf.select(self.cfg, key, throw_on_resolution_failure=False)
            if isinstance(value, int | float):
                check_fraction(key, value)
        refuse_nan(OmegaConf.to_container(self.cfg, resolve=False), "")

    def check_secrets(self) -> None:
        """Nothing that the config says, resolved, is a secret: it is written down for others, and logged."""
        try:
            plain = OmegaConf.to_container(self.cfg, resolve=True)
        except OmegaConfBaseException:  # is told where the value is needed
            plain = OmegaConf.to_container(self.cfg, resolve=False)
        refuse_secrets(plain, "", FREE_TEXTS)

    def check_checkpoints(self) -> None:
        """Each `ckpt` leads to a checkpoint."""
        from picdesk.assembly.checkpoints import weights_of

        places = [("", self.cfg.ckpt), *((f"{key}.", node.get("ckpt")) for key, node in self.rerankers_of())]
        for before, ckpt in places:
            if ckpt:
                try:
                    weights_of(str(ckpt), Path(str(self.cfg.paths.outputs)))
                except MissingFileError as error:
                    raise MissingFileError(f"{before}{error}") from None

    def check_rerankers(self, keys: Sequence[str]) -> None:
        """The rerankers that are named are there, with a weight from 0 to 1 and a number of candidates."""
        if not any(key.split(".")[0] == "reranker" for key in keys):
            return
        from picdesk.rerankers.base import check_share
        from picdesk.rerankers.several import check_use

        if "parts" in self.cfg.reranker and (self.cfg.reranker.use or "reranker.use" in keys):
            given = self.cfg.reranker.use
            use = list(given) if OmegaConf.is_list(given) else given
            check_use(use, [str(name) for name in self.cfg.reranker.parts])
        for key, node in self.rerankers_of():
            check_share(node.get("weight", 0.0), node.get("top_k"), key)
        if self.cfg.reranker.get("_target_") in LIGHT_RERANKERS:
            build(self.cfg, "reranker")

    def rerankers_of(self) -> Iterator[tuple[str, DictConfig]]:
        """The reranker of the config, or those that it uses, each with its key."""
        if "parts" not in self.cfg.reranker:
            yield "reranker", self.cfg.reranker
            return
        for name in self.cfg.reranker.use or ():
            if name in self.cfg.reranker.parts:
                yield f"reranker.parts.{name}", self.cfg.reranker.parts[name]

    def check_light(self, keys: Sequence[str]) -> None:
        """What was typed of the groups whose classes load nothing heavy suits them."""
        for group in LIGHT:
            is_brought = self.cfg.ckpt and group in BROUGHT and group not in keys
            if not is_brought and any(key.split(".")[0] == group for key in keys):
                build(self.cfg, group)
