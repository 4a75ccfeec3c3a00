"""A Milvus collection and the facts kept beside it. What goes wrong there is told in one line, not in a gRPC trace."""

import importlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from picdesk import network
from picdesk.errors import ConfigError, DataError
from picdesk.trec.runs import Floats

INSTALL = "index=milvus needs the package pymilvus (with milvus-lite for a file): install picdesk[milvus]"
LONGEST_ID = 1024
PAGE = 1000
FACTS_DIM = 2
ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})
"""What Milvus wants escaped in a text in double quotes; any other sign stands there as it is."""
REFUSED = ("auth", "password", "permission", "privilege", "token")
AWAY = ("connect", "unavailable", "deadline", "timeout", "timed out")


class Collection:
    """One collection of vectors by id, and a second, `<name>_facts`, with one row that says what the first holds."""

    def __init__(self, uri: str, name: str, token: str, timeout: float) -> None:
        try:
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else it writes of its pings between the lines of ours
            pymilvus = importlib.import_module("pymilvus")
            if "://" not in uri:
                importlib.import_module("milvus_lite")
        except ImportError as error:
            raise ConfigError(f"{INSTALL} ({error})") from None
        # milvus-lite tells when its server starts and stops, pymilvus every error with a trace before it raises it
        logging.getLogger("milvus_lite").setLevel(logging.WARNING)
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        self._library, self.uri, self.name = pymilvus, uri, name
        if "://" not in uri:
            Path(uri).parent.mkdir(parents=True, exist_ok=True)
        token = token or os.environ.get("MILVUS_TOKEN", "")
        if "://" in uri:
            network.need(f"index.uri={uri}")
        if "://" in uri and token:
            network.check_secret(uri, "index.uri", "MILVUS_TOKEN")
        with self.one_line_errors():
            self.client: Any = pymilvus.MilvusClient(uri, token=token, timeout=timeout)

    @contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Turn what Milvus raises inside the block into a `ConfigError` of one line."""
        grpc = importlib.import_module("grpc")
        try:
            yield
        except (self._library.MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
            said = " / ".join(filter(None, (_message(error), _message(error.__cause__))))
            low = said.lower()
            if any(word in low for word in REFUSED):
                raise ConfigError(f"index.uri={self.uri}: Milvus refuses us; is MILVUS_TOKEN right? ({said})") from None
            if any(word in low for word in AWAY):
                raise ConfigError(f"index.uri={self.uri}: no Milvus answers there ({said})") from None
            raise ConfigError(f"index.uri={self.uri}, collection {self.name!r}: Milvus says: {said}") from None

    def exists(self) -> bool:
        """Whether there is such a collection."""
        with self.one_line_errors():
            return bool(self.client.has_collection(self.name))

    def create(self, dim: int, kind: str, params: Mapping[str, Any]) -> None:
        """Make both collections, empty. Strong consistency: a read sees every write before it."""
        with self.one_line_errors():
            self._create(self.name, dim, LONGEST_ID, kind, params)
            self._create(f"{self.name}_facts", FACTS_DIM, 65_535, "FLAT", {})

    def _create(self, name: str, dim: int, longest: int, kind: str, params: Mapping[str, Any]) -> None:
        types = self._library.DataType
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", types.VARCHAR, is_primary=True, max_length=LONGEST_ID)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=dim)
        if longest != LONGEST_ID:
            schema.add_field("facts", types.VARCHAR, max_length=longest)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type=kind, metric_type="IP", params=dict(params))
        self.client.create_collection(name, schema=schema, consistency_level="Strong")
        # To wait for the index of nothing is to sleep half a second before asking whether it is done.
        self.client.create_index(name, index, sync=False)
        self.client.load_collection(name)

    def drop(self) -> None:
        """Remove both collections."""
        with self.one_line_errors():
            for name in (self.name, f"{self.name}_facts"):
                if self.client.has_collection(name):
                    self.client.drop_collection(name)

    def load(self) -> None:
        """Make the collection ready to be searched."""
        with self.one_line_errors():
            self.client.load_collection(self.name)

    def close(self) -> None:
        """Let go of the server or file."""
        with self.one_line_errors():
            self.client.close()

    def read_facts(self) -> dict[str, Any]:
        """The facts. Raises `DataError` if there are none, so that a collection of somebody else's is left alone."""
        name = f"{self.name}_facts"
        with self.one_line_errors():
            rows = []
            if self.client.has_collection(name):
                self.client.load_collection(name)  # a process that did not make it has to
                rows = self.client.get(name, ids=["facts"], output_fields=["facts"])
        if not rows:
            raise DataError(f"index.uri={self.uri}: collection {self.name!r} was not made by picdesk (it has no facts)")
        return dict(json.loads(rows[0]["facts"]))

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts in the place of the old ones."""
        row = {"id": "facts", "vector": [1.0] * FACTS_DIM, "facts": json.dumps(dict(facts))}
        with self.one_line_errors():
            self.client.upsert(f"{self.name}_facts", [row])

    def count(self) -> int:
        """Number of items."""
        with self.one_line_errors():
            return int(self.client.query(self.name, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def present(self, ids: Sequence[str]) -> set[str]:
        """Which of the ids are there."""
        with self.one_line_errors():
            return {row["id"] for row in self.client.query(self.name, filter=one_of(ids), output_fields=["id"])}

    def all_ids(self) -> tuple[str, ...]:
        """Every id, sorted; fetched in pages, as pymilvus's iterator does, which cannot page past an id with a quote."""
        ids: list[str] = []
        while True:
            after = f"id > {quoted(ids[-1])}" if ids else ""
            with self.one_line_errors():
                page = self.client.query(
                    self.name,
                    filter=after,
                    output_fields=["id"],
                    limit=PAGE,
                    iterator="True",
                    reduce_stop_for_best="True",
                )
            if not page:
                return tuple(sorted(ids))
            ids.extend(sorted(row["id"] for row in page))

    def insert(self, ids: Sequence[str], vectors: Floats) -> None:
        """Put items in; one that is there already is overwritten."""
        rows = [{"id": item, "vector": vector} for item, vector in zip(ids, vectors, strict=True)]
        with self.one_line_errors():
            self.client.upsert(self.name, rows)

    def delete(self, ids: Sequence[str]) -> None:
        """Take items out."""
        with self.one_line_errors():
            self.client.delete(self.name, filter=one_of(ids))

    def search(
        self, queries: Floats, limit: int, params: Mapping[str, Any], among: Sequence[str] | None = None
    ) -> list[list[tuple[str, float]]]:
        """Ids and inner products of the nearest (of those ids alone, where they are given), best first, one list per query."""
        asked = {"metric_type": "IP", "params": dict(params)}
        with self.one_line_errors():
            found = self.client.search(
                self.name, data=np.ascontiguousarray(queries), limit=limit, search_params=asked, anns_field="vector",
                output_fields=["id"], consistency_level="Strong",
                filter="" if among is None else one_of(among),
            )  # fmt: skip
        return [[(hit["id"], float(hit["distance"])) for hit in hits] for hits in found]


def one_of(ids: Sequence[str]) -> str:
    """The condition that an item is one of these. pymilvus's own, out of `ids=`, puts an apostrophe or a backslash into its
    quotes as it is, which Milvus cannot read."""
    return f"id in [{', '.join(map(quoted, ids))}]"


def quoted(text: str) -> str:
    """A text as Milvus reads it in a condition."""
    return f'"{text.translate(ESCAPED)}"'


def _message(error: BaseException | None) -> str:
    """What an error of pymilvus or gRPC says, in one line of at most 200 characters."""
    if error is None:
        return ""
    details = getattr(error, "details", None)
    text = details() if callable(details) else getattr(error, "message", "") or error
    return " ".join(str(text).split())[:200]
