"""Read and write clips through PyAV: mp4, mov, mkv, webm, gif and folders of frames."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from PIL import Image

from instructedit.applications.video.flow import Frames
from instructedit.files import kind_of_file, write_aside
from instructedit.images import load_image, picture_endings, save_png
from instructedit.types import ConfigError, StageError

CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".m4v": "libx264", ".webm": "libvpx-vp9"}
"""Video codecs by the ending of the written file."""
SOUND = {".webm": "libopus"}
"""Codec for sound that the written file's format cannot hold as it is; AAC in the others."""
FOLDER = "folder"
FORMATS = (*(ending[1:] for ending in CODECS), "gif", FOLDER)
"""Accepted formats of written clips."""
MAX_BYTES = 6 * 10**9
_TICKS = 90_000
"""Time stamps are written in this fraction of a second."""


@dataclass(frozen=True)
class Clip:
    """A clip in memory."""

    frames: Frames
    times: tuple[Fraction, ...]
    """Begin of each frame in seconds, from 0."""
    seconds: Fraction
    """Duration; the last frame ends then."""
    source: Path
    has_sound: bool = False
    notes: tuple[str, ...] = ()
    """What was converted, one line each."""

    @property
    def rate(self) -> float:
        """Mean number of frames in a second."""
        return float(len(self.frames) / self.seconds)


def read_clip(path: Path, rate: float) -> Clip:
    """Read a clip as upright 8-bit RGB.

    Rotation in the metadata is applied, more than 8 bits are scaled, and variable frame rates keep their time stamps.

    Args:
        path: A file, or a folder of pictures of one size, in the order of their names (numbers in them by value).
        rate: Frames per second of a folder.

    Raises:
        ConfigError: In one line with the path: it cannot be read, has no video, has one frame, changes its size, or
            is too large.
    """
    clip = _read_folder(path, rate) if path.is_dir() else _read_file(path)
    if len(clip.frames) < 2:
        raise ConfigError(f"{path}: one frame; a clip has at least two (scripts.edit edits single pictures)")
    return clip


def _read_file(path: Path) -> Clip:
    if not path.is_file():
        raise ConfigError(f"{path}: {kind_of_file(path)}; a clip is expected (mp4, mov, mkv, webm, gif), or a folder")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ConfigError(f"{path}: no video stream in it; a clip is expected")
            return _decoded(path, container)
    except av.error.FFmpegError as error:
        raise ConfigError(f"{path}: cannot be read as a video ({error.strerror}); a whole clip is expected") from None


def _decoded(path: Path, container: Any) -> Clip:
    stream = container.streams.video[0]
    frames: list[np.ndarray] = []
    stamps: list[Fraction] = []
    notes: dict[str, None] = {}
    last: Any = None
    for frame in container.decode(stream):
        pixels = frame.to_ndarray(format="rgb24")
        turns = round(frame.rotation / 90) % 4
        if turns:
            pixels = np.rot90(pixels, turns)
            notes[f"rotated by {turns * 90 % 360} degrees counterclockwise, as its metadata says"] = None
        if frame.format.components and frame.format.components[0].bits > 8:
            notes[f"{frame.format.components[0].bits} bits converted to 8"] = None
        if frames and pixels.shape != frames[0].shape:
            raise ConfigError(
                f"{path}: frame {len(frames)} is {_size(pixels)}, the first {_size(frames[0])}; one size is expected"
            )
        frames.append(pixels)
        if pixels.nbytes * len(frames) > MAX_BYTES:
            raise ConfigError(
                f"{path}: more than {MAX_BYTES // 10**9} GB of frames; a shorter or smaller clip is accepted"
            )
        # A frame without a time stamp follows the one before at the stream's rate.
        step = 1 / (stream.average_rate or Fraction(25))
        stamps.append(
            stamps[-1] + step if frame.pts is None and stamps else Fraction((frame.pts or 0) * frame.time_base)
        )
        last = frame
    if not frames:
        raise ConfigError(f"{path}: no frame could be decoded; a whole clip is expected")
    if stream.frames > len(frames):
        notes[f"{len(frames)} of {stream.frames} frames could be decoded"] = None
    # Pixels of other shapes than squares are left as they are; players use the ratio.
    times = tuple(stamp - stamps[0] for stamp in stamps)
    if any(b <= a for a, b in zip(times, times[1:], strict=False)):
        times = tuple(Fraction(i) / (stream.average_rate or 25) for i in range(len(frames)))
    shown = Fraction(last.duration * last.time_base) if last.duration else Fraction(0)
    seconds = times[-1] + (shown or (times[-1] / (len(times) - 1) if len(times) > 1 else Fraction(1, 25)))
    has_sound = bool(container.streams.audio)
    return Clip(np.stack(frames), times, seconds, path, has_sound, tuple(notes))


def _read_folder(path: Path, rate: float) -> Clip:
    endings = picture_endings(("PNG", "JPEG", "WEBP", "BMP", "TIFF"))
    pictures = sorted((p for p in path.iterdir() if p.suffix.lower() in endings and p.name[0] != "."), key=_natural)
    if not pictures:
        raise ConfigError(f"{path}: no pictures in it; frames as PNG, JPEG, WEBP, BMP or TIFF are expected")
    frames: list[np.ndarray] = []
    for picture in pictures:
        try:
            pixels = np.asarray(load_image(picture))
        except StageError as error:
            raise ConfigError(str(error)) from None
        if frames and pixels.shape != frames[0].shape:
            raise ConfigError(
                f"{picture}: {_size(pixels)}, the first frame is {_size(frames[0])}; one size is expected"
            )
        frames.append(pixels)
    exact = Fraction(rate).limit_denominator(1001)
    times = tuple(i / exact for i in range(len(frames)))
    return Clip(np.stack(frames), times, len(frames) / exact, path)


def ending(clip: Clip, wanted: str | None) -> str:
    """Return the ending of the written clip: ``.mp4``, ``.gif``, ..., or nothing for a folder of frames.

    Args:
        clip: Its own format is kept where it can be written; MP4 stands for others.
        wanted: One of :data:`FORMATS`, or None.

    Raises:
        ConfigError: The format is unknown.
    """
    if wanted is not None:
        if wanted not in FORMATS:
            raise ConfigError(f"format={wanted}: accepted are {', '.join(FORMATS)}, or null for the clip's own")
        return "" if wanted == FOLDER else f".{wanted}"
    if clip.source.is_dir():
        return ""
    own = clip.source.suffix.lower()
    return own if own == ".gif" or own in CODECS else ".mp4"


def write_clip(path: Path, frames: Frames, like: Clip) -> str:
    """Write frames with the time stamps and the sound of a clip; the file is complete or not there.

    Args:
        path: A file with one of the endings of :func:`ending`, or a folder.
        frames: RGB, as many as the clip has.
        like: The clip.

    Returns:
        A remark about what could not be kept; empty if all was.
    """
    suffix = path.suffix.lower()
    if not suffix:
        for index, frame in enumerate(frames):
            save_png(Image.fromarray(frame), path / f"{index:05d}.png")
        return "a folder of frames has no sound" if like.has_sound else ""
    with write_aside(path) as file:
        if suffix == ".gif":
            _write_gif(file, frames, like)
            return "a GIF has no sound" if like.has_sound else ""
        return _write_video(file, suffix, frames, like)


def _write_gif(file: Any, frames: Frames, like: Clip) -> None:
    # GIF's unit is a hundredth of a second; rounding the times, not the durations, keeps the clip's length.
    marks = [round(100 * t) for t in (*like.times, like.seconds)]
    durations = [10 * max(2, b - a) for a, b in zip(marks, marks[1:], strict=False)]
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


def _write_video(file: Any, suffix: str, frames: Frames, like: Clip) -> str:
    remark = ""
    name = {".mkv": "matroska", ".m4v": "mp4"}.get(suffix, suffix[1:])
    with av.open(file, "w", format=name) as output:
        stream: Any = output.add_stream(CODECS[suffix], rate=Fraction(like.rate).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        # Half of the colour resolution needs even sides.
        is_even = stream.height % 2 == 0 and stream.width % 2 == 0
        stream.pix_fmt = "yuv420p" if is_even else "yuv444p"
        stream.options = {"crf": "12", "b": "0"} if suffix == ".webm" else {"crf": "12", "preset": "medium"}
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.time_base = Fraction(1, _TICKS)
        sound = _Sound(output, like, SOUND.get(suffix, "aac")) if like.has_sound else None
        for pixels, time in zip(frames, like.times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = round(time * _TICKS), Fraction(1, _TICKS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if sound is not None:
            remark = sound.write()
    return remark


class _Sound:
    """Copies the first sound track of a clip, or encodes it again where the format cannot hold it."""

    def __init__(self, output: Any, clip: Clip, codec: str) -> None:
        self.output, self.input = output, av.open(str(clip.source))
        self.source = self.input.streams.audio[0]
        self.is_copied = self.source.codec_context.name in _held_by(output)
        if self.is_copied:
            self.stream = output.add_stream_from_template(self.source)
        else:
            rate = 48_000 if codec == "libopus" else self.source.codec_context.sample_rate
            self.stream = output.add_stream(codec, rate=rate)

    def write(self) -> str:
        """Write the track; returns a remark if it was encoded again."""
        with self.input:
            if self.is_copied:
                for packet in self.input.demux(self.source):
                    if packet.dts is not None:
                        packet.stream = self.stream
                        self.output.mux(packet)
                return ""
            for frame in self.input.decode(self.source):
                frame.pts = None
                self.output.mux(self.stream.encode(frame))
            self.output.mux(self.stream.encode())
        return f"the sound was encoded again as {self.stream.codec_context.name}"


def _held_by(output: Any) -> tuple[str, ...]:
    """Return the sound codecs that are copied into a format, by FFmpeg's names of decoders."""
    if output.format.name == "webm":
        return "opus", "vorbis", "libopus", "libvorbis"
    if output.format.name == "matroska":
        return "aac", "opus", "vorbis", "mp3", "mp3float", "flac", "ac3", "libopus", "pcm_s16le"
    return "aac", "mp3", "mp3float", "ac3", "alac"


def _natural(path: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", path.name)]


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
