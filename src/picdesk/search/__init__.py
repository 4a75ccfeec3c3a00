"""Indexes, fusion and the one retrieval path."""
