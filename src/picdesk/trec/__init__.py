"""Runs and relevance judgements, in memory and as TREC files."""
