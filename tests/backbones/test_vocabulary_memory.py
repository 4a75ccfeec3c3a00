"""A tokenizer whose vocabulary the tests share is the one that open_clip makes."""

import copy

import pytest
from open_clip.tokenizer import SimpleTokenizer

from picdesk.backbones import open_clip
from tests.backbones import vocabulary_memory

TEXTS = ["A red Dog, running!", "Ümlaut &amp; 🙂 in the rain", "a " * 90]


@pytest.mark.parametrize("settings", [{}, {"context_length": 16}, {"clean": "canonicalize"}])
def test_tokens_and_digests_are_the_librarys(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary_memory.begin()
    shared = [SimpleTokenizer(**settings) for _ in range(2)]
    shared.append(copy.deepcopy(shared[0]))
    digests = {open_clip.tokenizer_content(one) for one in shared for _ in range(2)}
    read, content = vocabulary_memory.AS_IT_COMES
    monkeypatch.setattr(SimpleTokenizer, "__init__", read)
    alone = SimpleTokenizer(**settings)
    assert alone.encoder is not shared[0].encoder
    assert all((one(TEXTS) == alone(TEXTS)).all() for one in shared)
    assert digests == {content(alone)}
