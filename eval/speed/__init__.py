"""Speed and memory, measured: `python -m scripts.bench`."""
