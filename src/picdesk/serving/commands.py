"""The `retrieve.py` command that gives what the page shows."""

from __future__ import annotations

import shlex

import numpy as np

from picdesk.assembly.quoting import in_quotes
from picdesk.home import at_door
from picdesk.retrieval.pieces import Piece
from picdesk.serving.questions import Question
from picdesk.serving.served import Served


def command_of(served: Served, question: Question) -> str:
    """A line for a shell. Pictures stand by their file's name; where that lies is for the reader to say."""
    options, system = question.options, served.system
    parts = [*served.opened.same, *asked_words(question)]
    if system.reranking.active:
        parts += weight_words(served, question)
    parts += [f"top_k={max(system.top_k, options.k)}", f"run_depth={options.k}"]
    least = options.min_score if options.min_score is not None else system.min_score
    parts += [f"min_score={plain(least)}"] if least is not None else []
    parts += [f"filter={options.where}"] if options.where else []
    return f"{at_door('retrieve')} {shlex.join(parts)}"


def asked_words(question: Question) -> list[str]:
    """What is asked, by `query=`, `image=` and `also=`."""
    if question.query:
        return [f"query={question.query.fields['title']}"]
    first, rest = question.pieces[0], question.pieces[1:]
    told = [f"query={first.text}" if first.text else f"image={first.name}", f"find={question.find}"]
    return told + ([f"also=[{','.join(map(also_word, rest))}]"] if rest else [])


def also_word(piece: Piece) -> str:
    """One entry of `also`; a text with a colon has its weight before it, as what it begins with could be one."""
    text = piece.text or f"image:{piece.name}"
    return in_quotes(text if piece.weight == 1 and ":" not in piece.text else f"{plain(piece.weight)}:{text}")


def plain(number: float) -> str:
    """All digits of a number, without an exponent, which `also` would take for a text."""
    return np.format_float_positional(number, trim="-")


def weight_words(served: Served, question: Question) -> list[str]:
    """The weights of the rerankers; none where pieces are asked of the vectors alone."""
    if not question.query and not (len(question.pieces) == 1 and question.find == "texts"):
        return ["reranker=identity"]
    changed = dict(question.options.weights)
    several = len(served.weights) > 1 or any(one.startswith("reranker=several") for one in served.opened.same)
    return [
        f"reranker.parts.{name}.weight={plain(w)}" if several else f"reranker.weight={plain(w)}"
        for name, w in changed.items()
    ]
