"""Indexes, fusion and the one retrieval path."""

import logging

logging.getLogger("faiss").setLevel(logging.WARNING)  # it tells which processor features it tried
