"""The tools that bench/evaluate.py sets side by side, each fed the way it is usually fed, and the data they score."""

import statistics
from collections.abc import Callable

import numpy as np

KS = (1, 5, 10)
Values = dict[str, float]
Sides = tuple[tuple[str, np.ndarray, np.ndarray, list[set[int]]], ...]


def arrays(pictures: int, captions: int, width: int = 512) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Made-up embeddings [texts, width], [pictures, width] of length 1, and the picture of each text, in shuffled order."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((pictures, width), dtype=np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    picture_of = rng.permutation(np.repeat(np.arange(pictures), captions))
    texts = rng.standard_normal((len(picture_of), width), dtype=np.float32)
    texts *= 0.35
    for start in range(0, len(texts), 10_000):
        part = texts[start : start + 10_000]
        part += images[picture_of[start : start + 10_000]]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return texts, images, picture_of


def sides(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray) -> Sides:
    """Direction, queries, gallery, and the relevant positions of each query."""
    texts_of: list[set[int]] = [set() for _ in images]
    for text, picture in enumerate(picture_of.tolist()):
        texts_of[picture].add(text)
    return ("t2i", texts, images, [{picture} for picture in picture_of.tolist()]), ("i2t", images, texts, texts_of)


def top_ten(queries: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and positions of the ten best, as the tools that want lists are usually fed; 1,000 queries at a time."""
    import torch

    parts = [
        torch.topk(torch.from_numpy(queries[i : i + 1000]) @ torch.from_numpy(gallery).T, max(KS))
        for i in range(0, len(queries), 1000)
    ]
    return np.concatenate([p.values.numpy() for p in parts]), np.concatenate([p.indices.numpy() for p in parts])


def ours(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray) -> Values:
    from picdesk.evaluation.metrics import metrics_of

    ranked = our_ranks(texts, images, picture_of)
    return {f"{ranks.direction}/{name}": value for ranks in ranked for name, value in metrics_of(ranks).items()}


def ours_all(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray) -> Values:
    from picdesk.evaluation.metrics import metrics_of
    from picdesk.measures.listing import MEASURES

    ranked = our_ranks(texts, images, picture_of)
    named = {ranks.direction: metrics_of(ranks, KS, tuple(MEASURES)) for ranks in ranked}
    rsum = 100 * sum(named[direction][f"hits@{k}"] for direction in named for k in KS)
    return {f"{d}/{name}": value for d, found in named.items() for name, value in found.items()} | {"rsum": rsum}


def our_ranks(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray):  # type: ignore[no-untyped-def]
    from picdesk.evaluation.metrics import exact_ranks_both
    from picdesk.interfaces import Embeddings
    from picdesk.trec.runs import Qrels

    queries = Embeddings(tuple(f"t{i}" for i in range(len(texts))), texts)
    gallery = Embeddings(tuple(f"p{i}" for i in range(len(images))), images)
    rows = np.arange(len(texts))
    t2i = Qrels.from_pairs(queries.ids, gallery.ids, rows, picture_of)
    return exact_ranks_both(queries, gallery, t2i, Qrels.from_pairs(gallery.ids, queries.ids, picture_of, rows))


def clip_benchmark(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray) -> Values:
    """The lines of its own `evaluate` that follow the encoding, with its batch size of 64."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = torch.from_numpy(texts) @ torch.from_numpy(images).T
    pairs = torch.zeros_like(scores, dtype=torch.bool)
    pairs[torch.arange(len(scores)), torch.from_numpy(picture_of)] = True
    found = {}
    for direction, matrix, right in (("t2i", scores, pairs), ("i2t", scores.T, pairs.T)):
        for k in KS:
            recall = batchify(recall_at_k, matrix, right, 64, "cpu", k=k)
            found[f"{direction}/hits@{k}"] = (recall > 0).double().mean().item()
            found[f"{direction}/recall@{k}"] = recall.double().mean().item()
    return found


class Encoded:
    """Stands for a SentenceTransformer whose queries are encoded already."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix

    def encode_query(self, *_: object, **__: object):  # type: ignore[no-untyped-def]
        """The matrix, whatever is asked."""
        import torch

        return torch.from_numpy(self.matrix)


def sentence_transformers(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray) -> Values:
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import dot_score

    found = {}
    for direction, queries, gallery, relevant in sides(texts, images, picture_of):
        evaluator = InformationRetrievalEvaluator(
            {str(i): "" for i in range(len(queries))},
            {str(i): "" for i in range(len(gallery))},
            {str(i): {str(item) for item in items} for i, items in enumerate(relevant)},
            accuracy_at_k=list(KS),
            precision_recall_at_k=list(KS),
            map_at_k=[10],
            score_functions={"dot": dot_score},
        )
        scores = evaluator.compute_all_metrics(Encoded(queries), corpus_embeddings=torch.from_numpy(gallery))["dot"]
        found |= {f"{direction}/hits@{k}": scores["accuracy@k"][k] for k in KS}
        found |= {f"{direction}/recall@{k}": scores["recall@k"][k] for k in KS}
    return found


def torchmetrics(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray) -> Values:
    import torch
    from torchmetrics.retrieval import RetrievalHitRate

    found = {}
    for direction, queries, gallery, relevant in sides(texts, images, picture_of):
        scores, items = top_ten(queries, gallery)
        right = [[item in relevant[q] for item in row] for q, row in enumerate(items.tolist())]
        query = torch.arange(len(queries)).repeat_interleave(max(KS))
        for k in KS:
            metric = RetrievalHitRate(empty_target_action="neg", top_k=k)
            metric.update(torch.from_numpy(scores).flatten(), torch.tensor(right).flatten(), indexes=query)
            found[f"{direction}/hits@{k}"] = metric.compute().item()
    return found


def dicts(queries: np.ndarray, gallery: np.ndarray, relevant: list[set[int]]):  # type: ignore[no-untyped-def]
    """Qrels and run as dicts of the ten best."""
    scores, items = top_ten(queries, gallery)
    run = {
        str(q): {str(item): score for item, score in zip(row, values, strict=True)}
        for q, (row, values) in enumerate(zip(items.tolist(), scores.tolist(), strict=True))
    }
    return {str(q): {str(item): 1 for item in right} for q, right in enumerate(relevant)}, run


def pytrec_eval(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray) -> Values:
    import pytrec_eval

    found = {}
    for direction, queries, gallery, relevant in sides(texts, images, picture_of):
        qrels, run = dicts(queries, gallery, relevant)
        rows = list(pytrec_eval.RelevanceEvaluator(qrels, {"success.1,5,10", "recall.1,5,10"}).evaluate(run).values())
        for ours_, theirs in (("hits", "success"), ("recall", "recall")):
            found |= {f"{direction}/{ours_}@{k}": statistics.fmean(row[f"{theirs}_{k}"] for row in rows) for k in KS}
    return found


def ranx(texts: np.ndarray, images: np.ndarray, picture_of: np.ndarray) -> Values:
    from ranx import Qrels, Run, evaluate

    found = {}
    for direction, queries, gallery, relevant in sides(texts, images, picture_of):
        qrels, run = dicts(queries, gallery, relevant)
        names = [f"{name}@{k}" for name in ("hit_rate", "recall") for k in KS]
        scores = evaluate(Qrels(qrels), Run(run), names)
        found |= {f"{direction}/{name.replace('hit_rate', 'hits')}": float(scores[name]) for name in names}
    return found


ALL = "picdesk, all metrics"
OURS = ("picdesk", ALL)
TOOLS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], Values]] = {
    "picdesk": ours,
    ALL: ours_all,
    "pytrec_eval": pytrec_eval,
    "sentence_transformers": sentence_transformers,
    "torchmetrics": torchmetrics,
    "clip_benchmark": clip_benchmark,
    "ranx": ranx,
}
FOREIGN = ("clip_benchmark", "ranx")
TOLD = {
    "picdesk": "exact_ranks_both, metrics_of: hits, recall, MRR, median and mean rank of the whole order",
    ALL: "and nDCG@k, mAP@R, R-Precision, RSUM",
    "pytrec_eval": "hits and recall from dicts of the ten best",
    "sentence_transformers": "InformationRetrievalEvaluator: hits and recall (and MRR, NDCG, MAP at 10)",
    "torchmetrics": "RetrievalHitRate, once for each k, on the ten best",
    "clip_benchmark": "recall_at_k, once for each k, as in its evaluate",
    "ranx": "hits and recall from dicts of the ten best",
}
