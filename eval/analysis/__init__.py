"""Statistics of runs, computed from data frames."""
