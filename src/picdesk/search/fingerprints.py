"""Digests over what an index was built from."""

import hashlib
from json.encoder import encode_basestring_ascii

import numpy as np

from picdesk.files import digest_of
from picdesk.interfaces import Embeddings


class Taken:
    """SHA-256 over the ids and vectors that came in, in their order, however they were cut into pieces."""

    def __init__(self) -> None:
        self._ids, self._vectors = hashlib.sha256(), hashlib.sha256()

    def update(self, more: Embeddings) -> None:
        """Take further items into account."""
        self._ids.update("\n".join([*map(encode_basestring_ascii, more.ids), ""]).encode())  # a line of JSON each
        self._vectors.update(np.ascontiguousarray(more.matrix).data)

    def fingerprint(self) -> str:
        """The digest, in hex."""
        return digest_of([self._ids.hexdigest(), self._vectors.hexdigest()])


def fingerprint_of(gallery: Embeddings) -> str:
    """What `fingerprint` will be of an index over this gallery."""
    taken = Taken()
    taken.update(gallery)
    return taken.fingerprint()
