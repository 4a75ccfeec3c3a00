"""From scores to what a page, a table and a file show of them."""
