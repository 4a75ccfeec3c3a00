"""In the tests' own processes the vocabulary that comes with open_clip is read once, and its digest is made once.

Reading it takes longer than the small models that the tests make: 49,408 words, the same each time.
"""

import functools
from collections.abc import Callable
from typing import Any

from open_clip.tokenizer import SimpleTokenizer

from picdesk.backbones import open_clip, open_clip_files

AS_IT_COMES = (SimpleTokenizer.__init__, open_clip_files.tokenizer_content)


@functools.cache
def begin() -> None:
    """Put it in place."""
    read, content = AS_IT_COMES
    SimpleTokenizer.__init__ = read_once(read)
    SimpleTokenizer.__deepcopy__ = share_vocabulary
    open_clip.tokenizer_content = digest_once(content)


def read_once(read: Callable[..., None]) -> Callable[..., None]:
    """Tokenizers of the same arguments share what they look words up in."""
    known: dict[str, dict[str, Any]] = {}

    def read_if_new(tokenizer: SimpleTokenizer, *values: Any, **named: Any) -> None:
        key = repr((values, sorted(named.items())))
        if key not in known:
            read(tokenizer, *values, **named)
            known[key] = dict(tokenizer.__dict__)
        tokenizer.__dict__.update(known[key])

    return read_if_new


def share_vocabulary(tokenizer: SimpleTokenizer, memo: dict[int, Any]) -> SimpleTokenizer:
    new = SimpleTokenizer.__new__(SimpleTokenizer)
    new.__dict__.update(tokenizer.__dict__)
    return new


def digest_once(content: Callable[[Any], str]) -> Callable[[Any], str]:
    """The digest of a tokenizer of open_clip's own; others may change under one name."""
    known: dict[Any, str] = {}

    def digest(tokenizer: Any) -> str:
        if type(tokenizer) is not SimpleTokenizer:
            return content(tokenizer)
        key = (id(tokenizer.encoder), tokenizer.clean_fn, tokenizer.context_length)  # it stays: `read_once` holds it
        if key not in known:
            known[key] = content(tokenizer)
        return known[key]

    return digest
