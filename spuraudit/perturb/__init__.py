"""Pixels to pixels: pure, batched, on any device. Knows tensors; not datasets, models or files."""
