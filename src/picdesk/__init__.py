"""Image-text retrieval experiments: configured by Hydra, trained by Lightning, searched by faiss, repeatable to the digit."""

__version__ = "0.1.0"
