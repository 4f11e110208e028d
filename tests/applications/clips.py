"""Small clips with known motion, cut from one random smooth texture."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from instructedit.applications.video.field import FieldSettings
from instructedit.applications.video.flow import positions, sample
from instructedit.applications.video.io import Clip

HEIGHT, WIDTH = 48, 64


def texture(side: int = 160, seed: int = 0) -> np.ndarray:
    """Return a smooth random RGB picture."""
    noise = np.random.default_rng(seed).random((side, side, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low) * 255).astype(np.uint8)


def moved(shift: tuple[float, float] = (0.0, 0.0), scale: float = 1.0, count: int = 6) -> np.ndarray:
    """Return a clip of a texture that moves by ``shift`` and grows by ``scale`` about the centre in each frame."""
    centre = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2], np.float32)
    own, step = positions(HEIGHT, WIDTH), np.array(shift, np.float32)
    frames = [sample(texture(), (own - centre) / scale**t + centre - t * step + 50) for t in range(count)]
    return np.stack(frames)


def settings(**changes: Any) -> FieldSettings:
    """Return the settings of small, quick fits."""
    values: dict[str, Any] = {
        "encoding": "dense", "table": 8, "steps": 60, "pixels": 2048, "window": 16,
        "learning_rate": 2e-3, "deformation_rate": 0.02,
        "halve_at": (40,), "gradient_weight": 0.1, "smoothness": 0.002, "coarse_until": 0.5, "flow": True, "seed": 0,
    }  # fmt: skip
    return FieldSettings(**values | changes)


def clip_of(frames: np.ndarray, rate: int = 12, source: str = "clip.mp4", has_sound: bool = False) -> Clip:
    """Return a clip of a constant frame rate."""
    times = tuple(Fraction(i, rate) for i in range(len(frames)))
    return Clip(frames, times, Fraction(len(frames), rate), Path(source), has_sound)


def encoded(path: Path, frames: np.ndarray | None, pix_fmt: str = "yuv420p", codec: str = "libx264",
            stamps: list[int] | None = None, seconds_of_sound: float = 0.0) -> Path:  # fmt: skip
    """Write a video as other programs do, with time stamps in milliseconds and a tone."""
    with av.open(str(path), "w") as output:
        video: Any = None
        if frames is not None:
            video = output.add_stream(codec, rate=12)
            video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
            video.codec_context.time_base = Fraction(1, 1000)
        sound: Any = output.add_stream("aac", rate=44100) if seconds_of_sound else None
        for index, pixels in enumerate(() if frames is None else frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = stamps[index] if stamps else round(1000 * index / 12)
            frame.time_base = Fraction(1, 1000)
            output.mux(video.encode(frame))
        if video is not None:
            output.mux(video.encode())
        if sound is not None:
            wave = np.sin(np.arange(int(44100 * seconds_of_sound)) / 10).astype(np.float32)[None] / 4
            for start in range(0, wave.shape[1], 1024):
                part = av.AudioFrame.from_ndarray(wave[:, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts = 44100, start
                output.mux(sound.encode(part))
            output.mux(sound.encode())
    return path
