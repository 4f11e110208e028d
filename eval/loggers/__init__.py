"""Loggers of finished runs."""
