"""Experiment trackers that are told of finished runs."""
