"""Image-text retrieval experiments: configured by Hydra, trained by Lightning, searched by faiss, repeatable."""

__version__ = "0.1.0"
