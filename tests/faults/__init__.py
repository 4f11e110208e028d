"""Faults and hostile input; ``python -m pytest tests/faults`` ends with the table of docs/reliability.md."""
