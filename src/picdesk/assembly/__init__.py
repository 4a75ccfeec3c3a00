"""Where the config begins and ends: the command line, and from there to objects."""
