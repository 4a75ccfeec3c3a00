"""`picdesk train|evaluate|retrieve|serve ...` from any folder, and the commands that look after stores, jobs and submissions."""

from __future__ import annotations

import importlib
import runpy
import sys
from types import FrameType
from typing import NoReturn

from picdesk.home import PROJECT, note_command
from picdesk.process import ending

DOORS = {
    "train": "fit a backbone, then evaluate what was fitted",
    "evaluate": "retrieve and score, check data, compare jobs, tune",
    "retrieve": "find pictures for texts and texts for pictures",
    "serve": "the same as a web page and an API, in a process that stays up",
}
TOOLS = {
    "store": "list, verify and prune kept features",
    "pack": "a job as one archive, and back",
    "published": "published numbers: which can be checked here, and what is missing for the others",
    "check-submission": "whether a NewsImages submission folder is complete",
}
COMPLETION = r"""_picdesk() {{
    local words=(${{COMP_LINE:0:COMP_POINT}}) word=${{COMP_WORDS[COMP_CWORD]}} line=${{COMP_LINE#* }}
    if [ "$COMP_CWORD" -le 1 ]; then COMPREPLY=($(compgen -W "{names}" -- "$word")); return; fi
    case ${{words[1]}} in {doors}) ;; *) return ;; esac
    local point=$((COMP_POINT - ${{#COMP_LINE}} + ${{#line}}))
    COMPREPLY=($(compgen -o nospace -o default -W \
        "$(COMP_LINE=$line COMP_POINT=$point "${{words[0]}}" "${{words[1]}}" -sc query=bash 2> /dev/null)" -- "$word"))
}}
COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}
complete -o nospace -o default -F _picdesk picdesk
"""
"""For bash: `eval "$(picdesk completion)"`. Hydra lists what may stand there."""


def main() -> int:
    """Run the door or the tool that the first argument names; exit status 2 where it names none."""
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name in DOORS:
        return open_door_of(name, arguments)
    if name in TOOLS:
        note_command()
        tool = importlib.import_module(f"picdesk.commands.{name.replace('-', '_')}")
        return int(tool.main(arguments))
    if name == "completion":
        print(COMPLETION.format(names=" ".join([*DOORS, *TOOLS]), doors="|".join(DOORS)), end="")
        return 0
    print(usage(), file=sys.stdout if name in ("", "--help", "-h") else sys.stderr)
    return 0 if name in ("--help", "-h") else 2


def run_command() -> NoReturn:
    """The command as it is installed: the process ends with it, unless it runs under a profiler or a debugger."""
    caller = sys._getframe(1)
    if caller.f_back is None or is_python_m(caller.f_back):
        ending.claim_process()
    sys.exit(main())


def is_python_m(frame: FrameType | None) -> bool:
    """Whether all frames from this one down are those by which `python -m` runs a module."""
    while frame is not None and frame.f_globals.get("__name__") == "runpy":
        frame = frame.f_back
    return frame is None


def open_door_of(name: str, arguments: list[str]) -> int:
    """Run `train.py`, `evaluate.py`, `retrieve.py` or `serve.py`, of the checkout or the wheel that this was installed from."""
    door = PROJECT / f"{name}.py"
    if not door.is_file():
        print(f"picdesk: {door} is not there; install picdesk from its checkout: pip install DIR", file=sys.stderr)
        return 2
    sys.argv = [str(door), *arguments]
    note_command()
    runpy.run_path(str(door), run_name="__main__")
    return 0


def usage() -> str:
    """What there is, a line each."""
    lines = [f"  picdesk {name:<17} {what}" for name, what in {**DOORS, **TOOLS}.items()]
    lines.append(f'  picdesk {"completion":<17} completion of these for bash: eval "$(picdesk completion)"')
    return "\n".join(["usage: picdesk COMMAND [--help] ...", "", *lines])


if __name__ == "__main__":
    run_command()
