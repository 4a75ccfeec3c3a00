"""Second opinions on the candidates of a search."""
