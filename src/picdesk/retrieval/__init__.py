"""The engine in plain Python, without a config or a job folder: data set, features, search, scores."""
