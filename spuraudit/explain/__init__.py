"""Heat maps: where in an image a model finds its answer. Knows models; not datasets, audits or files."""
