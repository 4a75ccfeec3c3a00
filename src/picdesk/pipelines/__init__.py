"""One function per door: train, evaluate, retrieve. The only place that builds objects from the config."""
