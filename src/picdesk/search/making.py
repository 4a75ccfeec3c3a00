"""Making faiss indexes out of factory texts, and setting what they look at when they search."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np

from picdesk.errors import ConfigError, DataError
from picdesk.trec.runs import Floats

OPQ_ROUNDS = 10
"""Rounds of learning a rotation. faiss's 50, on four times the items, take most of an hour at 512 dimensions on two cores."""

ITEMS_A_CENTROID = 64
"""Items that each centroid is learnt from at most; faiss takes 256, for four times the time."""

CODEBOOK_ITEMS = 16_384
"""Items that codebooks and rotations are learnt from."""


ONE_THREAD_BELOW = 100_000
"""Fewer items are learnt from on one thread: hundreds of tiny clusterings gain nothing from more, and crawl on a busy machine."""

OUTSIDE = 0.005
"""Share of the values at either end of a dimension that 4 or 6 bits do not spread out for: a third of SQ4's errors go."""

ALONE = 128_000
"""Queries x dimensions below which faiss 1.14 and later compare flat vectors one query at a time, which pays on 80 cores
(facebookresearch/faiss pull requests 5022 and 5109). Earlier ones count queries alone, from 20 on."""

TOGETHER = 2_000
"""For each thread, queries x dimensions from which a matrix product is as fast: a hundred queries of 512 dimensions over ten
thousand items take a tenth of the time on two cores."""


def multiply_early() -> None:
    """Have faiss search flat vectors by matrix products from a few queries on, where it would wait for hundreds."""
    if faiss.cvar.distance_compute_blas_threshold == ALONE:
        faiss.cvar.distance_compute_blas_threshold = min(ALONE, TOGETHER * faiss.omp_get_max_threads())


multiply_early()


def reason(error: RuntimeError) -> str:
    """What faiss said, in one line, without the place in its source and the condition it checks."""
    text = re.sub(r"^Error in .*? at [^ ]+:\d+: ", "", str(error), flags=re.DOTALL)
    return " ".join(re.sub(r"^Error: '.*?' failed:? ?", "", text, flags=re.DOTALL).split()) or str(error)


def parts(index: Any) -> Iterator[Any]:
    """An index and all indexes inside it: behind a transform, before a refinement, the list finder of an IVF."""
    yield index
    for name in ("index", "base_index", "refine_index", "quantizer", "storage"):
        inner = getattr(index, name, None)
        if isinstance(inner, faiss.Index):
            yield from parts(faiss.downcast_index(inner))


def empty_index(factory: str, dim: int) -> Any:
    """The untrained faiss index of a factory text, inner product throughout. Raises `ConfigError` if there is none."""
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ConfigError(
            f"index factory {factory!r}: faiss cannot make it for {dim} dimensions: {reason(error)}"
        ) from None
    check_metric(index, factory)
    for part in parts(index):
        _better_defaults(part)
    return index


def check_metric(index: Any, what: str) -> None:
    """Raise `ConfigError` unless the scores that come out of the index are inner products."""
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ConfigError(f"index {what!r}: its metric is L2, not the inner product; faiss has no such index for it")


def _better_defaults(part: Any) -> None:
    """Train on fewer items without advice on standard error, rotate for seconds, and scale few bits to where values lie."""
    scalar = getattr(part, "sq", None)
    if scalar is not None and scalar.qtype in (faiss.ScalarQuantizer.QT_4bit, faiss.ScalarQuantizer.QT_6bit):
        scalar.rangestat, scalar.rangestat_arg = faiss.ScalarQuantizer.RS_quantiles, OUTSIDE
    if hasattr(part, "cp"):
        part.cp.min_points_per_centroid = 1
        part.cp.max_points_per_centroid = ITEMS_A_CENTROID
    if hasattr(part, "pq"):
        part.pq.cp.min_points_per_centroid = 1
        part.pq.cp.max_points_per_centroid = max(ITEMS_A_CENTROID, CODEBOOK_ITEMS // part.pq.ksub)
    for step in _rotations(part):
        step.niter, step.max_train_points = OPQ_ROUNDS, CODEBOOK_ITEMS


def _rotations(part: Any) -> Iterator[Any]:
    """The rotations that an index learns."""
    chain: Any = getattr(part, "chain", None)
    for place in range(0 if chain is None else chain.size()):
        step = faiss.downcast_VectorTransform(chain.at(place))
        if isinstance(step, faiss.OPQMatrix):
            yield step


def train(index: Any, sample: Floats, factory: str) -> None:
    """Learn what the index needs (centroids, codebooks, ranges) from a sample [n, dim]. Raises `DataError` if too small."""
    if index.is_trained:
        return
    steps = [step for part in parts(index) for step in _rotations(part)]
    for step in steps:
        if len(sample) < step.d_in:  # where faiss writes beyond its memory, and the process ends
            told = f"{len(sample)} items do not suffice to learn a rotation of {step.d_in} dimensions"
            raise DataError(f"index {factory!r}: {told}; take a kind without one (index.rotate=false), or index=flat")
    learners = [faiss.ProductQuantizer(step.d_out, step.M, 8) for step in steps]  # as faiss's own, without its advice
    for step, learner in zip(steps, learners, strict=True):
        learner.cp.min_points_per_centroid = 1
        step.pq = learner
    try:
        with on_threads(int(len(sample) < ONE_THREAD_BELOW)):
            index.train(np.ascontiguousarray(sample))
    except RuntimeError as error:
        raise DataError(f"index {factory!r}: {len(sample)} items do not suffice to train it: {reason(error)}") from None
    finally:
        for step in steps:
            step.pq = None


def reserve(index: Any, count: int) -> None:
    """Make room for `count` items in an index of plain vectors, which would double its memory each time it is full."""
    if isinstance(index, faiss.IndexFlat):
        index.codes.resize(count * index.code_size)
        index.codes.resize(0)  # the room stays


def set_search(index: Any, settings: Mapping[str, float]) -> None:
    """Set search parameters by faiss's names (`efSearch`, `nprobe`, `k_factor_rf`). Raises `ConfigError` for a wrong one."""
    space = faiss.ParameterSpace()
    for name, value in settings.items():
        try:
            space.set_index_parameter(index, name, value)
        except RuntimeError as error:
            raise ConfigError(f"index setting {name}={value}: this index does not know it: {reason(error)}") from None


def lists_of(index: Any) -> int:
    """How many inverted lists there are in an index; 0 for none."""
    return max((int(part.nlist) for part in parts(index) if isinstance(part, faiss.IndexIVF)), default=0)


def byte_size(index: Any) -> int:
    """Bytes that the index takes, counted by writing it nowhere."""
    total = 0

    def count(block: bytes) -> int:
        nonlocal total
        total += len(block)
        return len(block)

    writer: Any = getattr(faiss, "PyCallbackIOWriter")(count)  # noqa: B009 - missing in faiss's own type stubs
    faiss.write_index(index, faiss.BufferedIOWriter(writer))
    return total


def lists_on_disk(index: Any) -> bool:
    """Whether the vectors are in a file of their own that faiss reads when it searches, and writes when it adds."""
    lists = getattr(index, "invlists", None)
    return lists is not None and isinstance(faiss.downcast_InvertedLists(lists), faiss.OnDiskInvertedLists)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Let faiss use `count` threads inside the block; 0 leaves it as it is."""
    before = faiss.omp_get_max_threads()
    if count:
        faiss.omp_set_num_threads(min(count, os.cpu_count() or 1))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
