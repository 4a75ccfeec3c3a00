"""Losses, adaptation, the Lightning module and checkpoints."""
