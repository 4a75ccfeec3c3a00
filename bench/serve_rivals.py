"""What `bench/serve.py` measures the server beside: the same checkpoint and pictures behind three other processes.

    python bench/serve_rivals.py plain|engine|litserve PORT [OVERRIDE ...]

`plain` is what one writes first: FastAPI, the towers loaded once, a forward pass a request, faiss. `engine` calls
`picdesk.load().search` in each request, features through the store. `litserve` is Lightning's LitServe, which gathers requests
into batches (at most 16 within 2 ms); it wants an interpreter that has it (PICDESK_LITSERVE_PYTHON).
"""

import sys
import threading
from typing import Any

import faiss
import numpy as np
import torch

import picdesk
from picdesk.embedding.forward import prepare_trunk
from picdesk.retrieval.searcher import Searcher

try:
    from litserve import LitAPI  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    LitAPI = object

LISTED = 20


class Plain:
    """The towers, ready, and a faiss index; texts are embedded together or one at a time."""

    def __init__(self, searcher: Searcher) -> None:
        self.gallery = searcher.gallery("pictures")
        self.backbone = searcher.system.backbone
        self.trunk, _ = prepare_trunk(self.backbone.text_trunk, "cpu", "fp32")
        assert self.gallery.items is not None
        assert self.gallery.items.embeddings is not None
        self.index = faiss.IndexFlatIP(self.gallery.items.embeddings.dim)
        self.index.add(self.gallery.items.embeddings.matrix)
        self.render = searcher.rendering()

    def answer(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """The pictures of each text."""
        said = [self.render({"title": text, "caption": text, "tags": ()}) for text in texts]
        with torch.inference_mode():
            vectors = self.backbone.embed("text", self.trunk(**self.backbone.tokenize(said))).numpy()
        scores, places = self.index.search(np.ascontiguousarray(vectors, np.float32), LISTED)
        ids, known = self.gallery.index.ids, self.gallery.catalogue
        return [
            [
                {"id": ids[i], "score": float(s), "title": known.title(ids[i]), "columns": dict(known.fields(ids[i]))}
                for i, s in zip(row, own, strict=True)
            ]
            for row, own in zip(places, scores, strict=True)
        ]


def fastapi_app(answer: Any) -> Any:
    """An application with one route, whose requests take turns at the towers."""
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Asked(BaseModel):
        text: str

    app, turn = FastAPI(), threading.Lock()

    def search(asked: Asked) -> Any:
        with turn:
            return {"answers": [{"results": answer(asked.text)}]}

    search.__annotations__["asked"] = Asked
    app.post("/search")(search)
    app.get("/ready")(lambda: {"status": "ready"})
    return app


def through_the_engine(searcher: Searcher) -> Any:
    """`picdesk.load().search` as a notebook calls it."""
    searcher.gallery("pictures")
    return lambda text: [
        {"id": row.id, "score": row.score, "title": row.title, "columns": dict(row.fields)}
        for row in searcher.search(text, k=LISTED)
    ]


class Api(LitAPI):  # type: ignore[misc,unused-ignore]
    """The same towers behind LitServe, whose worker is a process of its own."""

    overrides: tuple[str, ...] = ()

    def setup(self, device: str) -> None:
        """Load the towers and the pictures, in the worker."""
        self.plain = Plain(picdesk.load("latest", *self.overrides))

    def decode_request(self, request: dict[str, str]) -> str:
        """The text of a request."""
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        """Texts that have gathered."""
        return list(inputs)

    def predict(self, texts: list[str]) -> Any:
        """The pictures of each."""
        return self.plain.answer(list(texts))

    def unbatch(self, output: Any) -> Any:
        """One answer a text."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The body of an answer."""
        return {"answers": [{"results": output}]}


def serve_by_litserve(port: int, overrides: list[str]) -> None:
    """One worker, at most 16 requests at once within 2 ms."""
    import litserve  # type: ignore[import-not-found,unused-ignore]

    api = Api(max_batch_size=16, batch_timeout=0.002, api_path="/search")
    api.overrides = tuple(overrides)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        port=port, host="127.0.0.1", generate_client_file=False, log_level="warning"
    )


def main() -> None:
    import uvicorn

    kind, port, overrides = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    if kind == "litserve":
        serve_by_litserve(port, overrides)
        return
    searcher = picdesk.load("latest", *overrides)
    plain = Plain(searcher) if kind == "plain" else None
    answer = (lambda text: plain.answer([text])[0]) if plain else through_the_engine(searcher)
    uvicorn.run(fastapi_app(answer), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
