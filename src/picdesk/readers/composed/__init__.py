"""Data sets in which a picture and a text together ask for another picture."""
