"""Where config begins and ends: the command line, what a config may name, what of a saved one is taken."""
