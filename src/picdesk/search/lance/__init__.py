"""The index in LanceDB: the table and its files, and the index over it."""
