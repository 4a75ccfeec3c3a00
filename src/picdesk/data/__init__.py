"""From files on disk to a `Collection`: readers, splits, prompts and pictures."""
