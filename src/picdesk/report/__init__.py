"""What a person sees of a job: manifest, page, plots, logger."""
