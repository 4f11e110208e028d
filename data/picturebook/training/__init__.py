"""Training of picturebook's models: one file per component and one loop for all. ``python -m scripts.train``."""
