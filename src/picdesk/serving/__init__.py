"""The desk: a page and an API over the engine, in a process that stays up."""
