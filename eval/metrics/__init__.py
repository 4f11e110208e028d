"""The paper's metrics, one file each. A metric is a pure function and a thin class that says what its number means."""
