"""Benchmarks: samples to edit, read from a folder in one of several formats."""
