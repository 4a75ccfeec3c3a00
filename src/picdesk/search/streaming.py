"""Indexes over more vectors than memory holds: shards come and go, what stays is the index."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from faiss.contrib.ondisk import merge_ondisk

from picdesk.errors import ConfigError
from picdesk.files import workshop, written_whole
from picdesk.interfaces import Index
from picdesk.search import index_files
from picdesk.search.base import Shards, sample_of
from picdesk.search.faiss_index import FaissIndex
from picdesk.search.open_saved import open_index
from picdesk.search.own_files import LISTS, free_turn


def build_on_disk(
    index: Index,
    shards: Shards,
    folder: Path | str,
    made_from: Mapping[str, Any] | None = None,
    sample: int = 100_000,
) -> FaissIndex:
    """Build an index whose inverted lists stay on disk, in `folder`; memory holds one shard and the list centroids.

    For kinds that are inverted lists and nothing else (`ivf_flat`, or a factory such as `IVF4096,SQ8`). Gives the opened
    index; a search reads the lists it probes. It takes no further items. Raises `ConfigError` for another kind.
    """
    made: FaissIndex = index.to_stream()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn, count = sample_of(shards, sample)
    made.start(drawn, count)
    if not isinstance(made.faiss, faiss.IndexIVF):
        inside = type(made.faiss).__name__
        raise ConfigError(f"index={made.kind}: {inside} has more than inverted lists and cannot stay on disk")
    turn = free_turn(folder)
    lists = folder / LISTS.format(turn)
    with workshop(folder / "blocks") as blocks, written_whole(lists) as temporary:
        merge_ondisk(made.faiss, _write_blocks(made, shards, blocks), str(temporary))
    inverted: Any = made.faiss.invlists
    on_disk: Any = faiss.downcast_InvertedLists(inverted)
    on_disk.filename = str(lists)
    made.finish()
    index_files.write_folder(folder, made.faiss, list(made.ids), made.facts(made_from), turn)
    return open_index(folder)


def _write_blocks(index: FaissIndex, shards: Shards, folder: Path) -> list[str]:
    """One small index file per shard, each with the places that its items will have in the whole."""
    blocks: list[str] = []
    place = 0
    for shard in shards():
        block = faiss.clone_index(index.faiss)
        block.add_with_ids(np.ascontiguousarray(shard.matrix), np.arange(place, place + len(shard.ids)))
        place += len(shard.ids)
        index.note(shard)
        blocks.append(str(folder / f"{len(blocks)}.faiss"))
        faiss.write_index(block, blocks[-1])
    return blocks
