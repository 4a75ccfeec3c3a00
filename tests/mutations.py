"""The damage that every format is read back after: one list for all of them."""

from collections.abc import Callable, Iterator

Mutation = Callable[[bytes], bytes]


def flip_bit(content: bytes, at: int) -> bytes:
    """One bit turned over."""
    at %= len(content)
    return content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :]


def mutations(content: bytes, flips: int = 150) -> Iterator[tuple[str, bytes]]:
    """Names and damaged forms: bits all over, cuts, additions, blocks of zeros, blocks that changed places, nothing at all."""
    size = len(content)
    for at in {i * size // flips for i in range(flips)} | {0, size - 1}:
        yield f"bit at {at}", flip_bit(content, at)
    for share in (0, 1, size // 3, size // 2, size - 1):
        yield f"cut to {share}", content[:share]
    yield "one byte more", content + b"\0"
    yield "twice", content * 2
    block = max(1, size // 20)
    for at in (0, size // 3, size - block):
        zeroed = content[:at] + bytes(block) + content[at + block :]
        if zeroed != content:
            yield f"zeros at {at}", zeroed
    yield "halves changed places", content[size // 2 :] + content[: size // 2]
    yield "something else", b"something else"
