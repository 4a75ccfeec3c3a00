"""One file for each thing that a door can be asked to do."""
