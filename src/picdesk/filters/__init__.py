"""Filters over what is known of items: the language, the columns that it asks about, and how a saved index keeps them."""
