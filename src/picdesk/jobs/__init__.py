"""One job's folder from its beginning to its end: identity, manifest, scores, resume, verdict, archive."""
