"""How picturebook's models are trained: one file a component, one loop for all. ``python -m scripts.train``."""
