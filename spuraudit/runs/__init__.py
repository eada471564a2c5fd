"""Executes plans: loading, batching, shards, resume, the record."""
