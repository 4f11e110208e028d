"""Small seeded pictures and records for the tests of the metrics."""

from pathlib import Path

import numpy as np
from PIL import Image

from instructedit.types import EditResult, Sample

SAMPLE = Sample(id="one", image=Path("one.png"), instruction="Change the cat to a dog")


def textured(seed: int, size: int = 128, noise: float = 8.0, grey: bool = False) -> Image.Image:
    """Return waves of many lengths with noise, whose contrast suffices for natural-scene statistics."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    layers = []
    for _ in range(1 if grey else 3):
        waves = zip(random.integers(-9, 10, (24, 2)), random.uniform(0, 2 * np.pi, 24), strict=True)
        layer = sum(np.sin(2 * np.pi * (a * x + b * y) + phase) / (1 + abs(a) + abs(b)) for (a, b), phase in waves)
        layer = (layer - layer.min()) / np.ptp(layer) * 200 + 20 + random.normal(0, noise, (size, size))
        layers.append(layer.clip(0, 255).astype(np.uint8))
    return Image.fromarray(np.stack(layers * 3 if grey else layers, axis=-1))


def plain(value: int, size: int = 64) -> Image.Image:
    """Return a picture with a single grey value."""
    return Image.new("RGB", (size, size), (value, value, value))


def result(image: Image.Image, mask: np.ndarray | None = None) -> EditResult:
    """Return an edit result with given fields."""
    return EditResult(id="one", image=image, mask=mask)
