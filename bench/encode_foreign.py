"""The sentence-transformers side of bench/encode.py: run by it in another interpreter, not by hand.

Reads one line of JSON (vocabulary, merges, picture files, texts, batch size), answers with its version, then for each further
line encodes everything once and answers with wall and processor seconds for pictures and for texts.
"""

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path


def make_model(folder: Path, vocabulary: dict[str, int], merges: list[str]) -> object:
    """A ViT-B/32 CLIP with random weights, saved the way a hub would hold it, and loaded by the library."""
    from sentence_transformers import SentenceTransformer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    ours = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    renamed = {ours.get(token, token): number for token, number in vocabulary.items()}
    (folder / "vocab.json").write_text(json.dumps(renamed), encoding="utf-8")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77, **names)
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)
    return SentenceTransformer(str(folder), device="cpu")


def main() -> None:
    import sentence_transformers
    from PIL import Image

    vocabulary, merges, paths, texts, batch = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder), vocabulary, merges)
    options = {"batch_size": batch, "show_progress_bar": False, "normalize_embeddings": True}
    model.encode([Image.open(path) for path in paths[:batch]], **options)
    model.encode(texts[:batch], **options)
    print(sentence_transformers.__version__, flush=True)
    for _ in sys.stdin:
        marks = [(time.perf_counter(), time.process_time())]
        model.encode([Image.open(path) for path in paths], **options)
        marks.append((time.perf_counter(), time.process_time()))
        model.encode(texts, **options)
        marks.append((time.perf_counter(), time.process_time()))
        steps = [(a, b) for before, after in pairwise(marks) for a, b in zip(before, after, strict=True)]
        print(*(b - a for a, b in steps), flush=True)


if __name__ == "__main__":
    main()
