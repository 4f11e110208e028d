"""The paper's metrics, one file each. A metric is a pure function and a thin class with its name, range and card."""
