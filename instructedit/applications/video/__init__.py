"""Video editing (paper §4.7): one edit of a canonical image, carried to every frame by a deformation field (CoDeF)."""
