"""Where the config begins and ends: schema, command line, saved configs; from nodes to objects."""
