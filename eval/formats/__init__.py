"""One file a benchmark format, each with ``read(folder, masks)`` (``eval.benchmark.Reader``)."""
