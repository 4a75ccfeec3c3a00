"""Metrics and their error bars."""
