"""Where config ends: what a config may name, and what of a saved one is taken."""
