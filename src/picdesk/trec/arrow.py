"""Arrow arrays from and to their buffers.

`pa.array`, `pa.scalar` and `to_numpy` would do the same, but import pandas at their first call, which takes longer than to
write or read most files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def strings(texts: Sequence[str]) -> Any:
    """An array of text."""
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in encoded], dtype=np.int64)]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)


def numbers(values: NDArray[Any]) -> Any:
    """An array of numbers, which are not copied where they lie in one piece."""
    kept = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(kept.dtype), len(kept), [None, pa.py_buffer(kept)])


def values(column: Any, kind: Any) -> NDArray[Any]:
    """The numbers of a column that has no nulls."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    width = np.dtype(kind).itemsize
    return np.frombuffer(whole.buffers()[1], kind, count=len(whole), offset=whole.offset * width)


def codes(column: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """A column of text as positions and names, in the order of first appearance."""
    whole = column.unify_dictionaries().combine_chunks()
    return values(whole.indices, np.int32).astype(np.int64), tuple(whole.dictionary.to_pylist())
