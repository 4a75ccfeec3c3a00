"""Text of people: files in any encoding, tables in any quoting, the values in their cells."""
