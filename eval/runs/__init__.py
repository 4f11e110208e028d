"""Runs: their address, and what is stored under it."""
