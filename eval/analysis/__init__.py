"""Statistics over runs: data frames in, numbers out."""
