"""Runs: plan them from a configuration, execute them, store and read their results."""
