"""Clips are read and written with their size, frame rate and sound, or refused in one line."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from instructedit.applications.strips import psnr
from instructedit.applications.video.io import ending, read_clip, write_clip
from instructedit.types import ConfigError
from tests.applications.clips import clip_of, encoded, moved

FRAMES = moved((1.0, 0.5))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.gif", "folder"])
def test_a_written_clip_is_read_again(name: str, tmp_path: Path) -> None:
    assert write_clip(tmp_path / name, FRAMES, clip_of(FRAMES)) == ""
    clip = read_clip(tmp_path / name, rate=12)
    assert clip.frames.shape == FRAMES.shape
    assert clip.rate == pytest.approx(12, rel=0.02)
    assert [float(t) for t in clip.times] == pytest.approx([i / 12 for i in range(6)], abs=0.011)
    # Half of the colour resolution, and 256 colours in a GIF.
    assert psnr(clip.frames, FRAMES) > 30
    if name == "folder":
        assert np.array_equal(clip.frames, FRAMES)


@pytest.mark.parametrize("size", [(47, 63), (48, 63), (16, 16)])
def test_any_size_is_kept(size: tuple[int, int], tmp_path: Path) -> None:
    frames = np.ascontiguousarray(FRAMES[:, : size[0], : size[1]])
    for name in ("a.mp4", "a.webm"):
        write_clip(tmp_path / name, frames, clip_of(frames))
        assert read_clip(tmp_path / name, 12).frames.shape == frames.shape


@pytest.mark.parametrize(
    ("name", "remark"), [("b.mp4", ""), ("b.mkv", ""), ("b.webm", "libopus"), ("b.gif", "no sound")]
)
def test_sound_is_kept_where_the_format_has_sound(name: str, remark: str, tmp_path: Path) -> None:
    clip = read_clip(encoded(tmp_path / "a.mp4", FRAMES, seconds_of_sound=0.5), 12)
    assert clip.has_sound
    said = write_clip(tmp_path / name, clip.frames, clip)
    assert said == "" if not remark else remark in said
    if name == "b.gif":
        return
    with av.open(str(tmp_path / name)) as written:
        samples = sum(frame.samples / frame.sample_rate for frame in written.decode(audio=0))
    assert samples == pytest.approx(0.5, abs=0.08)
    assert read_clip(tmp_path / name, 12).frames.shape == clip.frames.shape


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    stamps = [0, 40, 200, 240, 500, 540]
    clip = read_clip(encoded(tmp_path / "a.mkv", FRAMES, stamps=stamps), 12)
    assert [round(1000 * t) for t in clip.times] == stamps
    write_clip(tmp_path / "b.mp4", clip.frames, clip)
    again = read_clip(tmp_path / "b.mp4", 12)
    assert [round(1000 * t) for t in again.times] == stamps


def test_ten_bits_become_eight(tmp_path: Path) -> None:
    clip = read_clip(encoded(tmp_path / "a.mkv", FRAMES, pix_fmt="yuv420p10le", codec="libx265"), 12)
    assert clip.frames.dtype == np.uint8
    assert psnr(clip.frames, FRAMES) > 25
    assert clip.notes == ("10 bits converted to 8",)


def test_rotation_in_the_metadata_is_applied(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mp4", FRAMES)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the matrix of the track header, version 0
    assert struct.unpack(">9i", data[at : at + 36])[0] == 0x10000
    # A quarter turn clockwise: what phones write for pictures taken upright.
    data[at : at + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000)
    path.write_bytes(data)
    clip = read_clip(path, 12)
    assert clip.frames.shape == (6, 64, 48, 3)
    assert psnr(clip.frames, np.rot90(FRAMES, -1, axes=(1, 2))) > 28
    assert "rotated" in clip.notes[0]


def test_frames_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(tmp_path / f"frame{number}.png")
    assert read_clip(tmp_path, 5).frames[:, 0, 0, 0].tolist() == [1, 9, 10]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("missing", "no such file"), ("text", "cannot be read as a video"), ("sound", "no video stream"),
        ("one", "one frame; a clip has at least two"), ("sizes", "32x32, the first frame is 16x16"),
        ("empty", "no pictures in it"), ("bytes", "cannot be read as a video"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(kind: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    match kind:
        case "text":
            path.write_text("no clip")
        case "sound":
            encoded(path, None, seconds_of_sound=0.3)
        case "one":
            encoded(path, FRAMES[:1])
        case "bytes":
            path.write_bytes(encoded(path, FRAMES).read_bytes()[:400])
        case "sizes" | "empty":
            path = tmp_path / "folder"
            path.mkdir()
            for side in (16, 32) if kind == "sizes" else ():
                Image.new("RGB", (side, side)).save(path / f"{side}.png")
    with pytest.raises(ConfigError) as caught:
        read_clip(path, 12)
    assert line in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_written_format_is_the_clips_own_where_it_can_be() -> None:
    for source, wanted, expected in (
        ("a.webm", None, ".webm"), ("a.MOV", None, ".mov"), ("a.avi", None, ".mp4"), ("a.mp4", "gif", ".gif"),
        ("a.mp4", "folder", ""),
    ):  # fmt: skip
        assert ending(clip_of(FRAMES, source=source), wanted) == expected
    with pytest.raises(ConfigError, match="format=avi: accepted are mp4"):
        ending(clip_of(FRAMES), "avi")
