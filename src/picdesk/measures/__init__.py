"""The list of metrics: what each is worth for a query, by chance, and how it is shown."""
