"""A corpus of hostile pictures, instructions and manifests, made by a seeded script: the same on every machine."""

import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SEED = 0
MUTANTS = 36
"""Damaged copies of each whole picture."""


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of more than 500 files that claim to be pictures."""
    whole = dict(_whole())
    yield from whole.items()
    generator = random.Random(SEED)
    for name, data in whole.items():
        stem, _, suffix = name.rpartition(".")
        if len(data) > 200_000:
            continue
        for number in range(MUTANTS // 2):
            yield f"{stem}_cut{number}.{suffix}", data[: generator.randrange(len(data))]
            flipped = bytearray(data)
            for _ in range(1 + number % 4):
                flipped[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
            yield f"{stem}_flip{number}.{suffix}", bytes(flipped)
    yield "empty.png", b""
    yield "text.png", b"not a picture"
    yield "page.jpg", b"<html><script>alert(1)</script></html>"
    yield "script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch /tmp/owned) (w) file\n"
    yield "vector.png", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "wrong_ending.png", whole["rgb.jpg"]
    yield "wrong_ending.txt", whole["rgb.png"]
    yield "no_ending", whole["rgb.png"]
    yield "trailing.png", whole["rgb.png"] + b"<?php ?>" * 100
    # 30,000 x 30,000 pixels in a few hundred bytes.
    yield "bomb.png", _png(30_000, 30_000, zlib.compress(b"\0" * 100_000))
    yield "bomb_of_text.png", _png(8, 8, zlib.compress(b"\0" * 200), text=zlib.compress(b"a" * 50_000_000, 9))
    yield "huge.png", _png(2**31 - 1, 2**31 - 1, b"")
    yield "flat.png", _png(0, 8, b"")


def _whole() -> Iterator[tuple[str, bytes]]:
    noise = np.random.default_rng(SEED).integers(0, 256, (24, 32, 4), dtype=np.uint8)
    rgb = Image.fromarray(noise[..., :3])
    for suffix in ("png", "jpg", "webp", "bmp", "tiff", "gif", "ppm"):
        yield f"rgb.{suffix}", _encoded(rgb, suffix)
    yield "cmyk.jpg", _encoded(rgb.convert("CMYK"), "jpg")
    yield "cmyk.tiff", _encoded(rgb.convert("CMYK"), "tiff")
    yield "grey.png", _encoded(rgb.convert("L"), "png")
    yield "bits.png", _encoded(rgb.convert("1"), "png")
    yield "sixteen.png", _encoded(Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "png")
    yield "float.tiff", _encoded(Image.fromarray(noise[..., 0].astype(np.float32)), "tiff")
    yield "alpha.png", _encoded(Image.fromarray(noise), "png")
    yield "alpha.webp", _encoded(Image.fromarray(noise), "webp")
    yield "palette.png", _encoded(rgb.quantize(16), "png", transparency=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "turned.jpg", _encoded(rgb, "jpg", exif=exif)
    frames = [rgb.rotate(90 * k) for k in range(3)]
    yield "animated.gif", _encoded(rgb, "gif", save_all=True, append_images=frames)
    yield "animated.png", _encoded(rgb, "png", save_all=True, append_images=frames)
    yield "one.png", _encoded(rgb.resize((1, 1)), "png")
    yield "wide.png", _encoded(Image.new("RGB", (60_000, 1)), "png")
    yield "tall.png", _encoded(Image.new("RGB", (1, 60_000)), "png")


def _encoded(image: Image.Image, suffix: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG", "tiff": "TIFF"}.get(suffix, suffix.upper()), **options)
    return file.getvalue()


def _png(width: int, height: int, pixels: bytes, text: bytes | None = None) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    words = b"" if text is None else chunk(b"zTXt", b"comment\0\0" + text)
    return b"\x89PNG\r\n\x1a\n" + head + words + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


INSTRUCTIONS = (
    "", " ", "\n\t", "x", "a" * 100_000,
    "Change the cat to a dog " * 4_000, "\0", "\x1b[2J\x1b]0;owned\x07", "\x7f\x85",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}", "${oc.env:HOME}", "${ratio}", "../../etc/passwd", "%s%n{0}", "'; DROP --",
    "Ändere die Katze 🐱 in \u202eeinen Löwen", "\ud800", "e\u0301" * 500,
    "[boxes] of_a cat | dog . horse", "NaN", "null",
    "Segmentation prompt: x\nEditing prompt 1: y\nEditing prompt 2: z", "Replace with with to to",
)  # fmt: skip


def manifests(folder: Path) -> Iterator[bytes]:
    """Yield contents of hostile ``manifest.jsonl`` files.

    Args:
        folder: The benchmark's folder, with ``cat.png``, the link ``out.png`` out of it and ``loop.png`` to itself.
    """
    good: dict[str, Any] = {"id": "a", "image": "cat.png", "instruction": "x"}
    values: list[Any] = [
        None,
        1,
        -1.5,
        float("nan"),
        float("inf"),
        True,
        [],
        {},
        [[]],
        {"a": {}},
        10**400,
        *INSTRUCTIONS,
    ]
    for key in (
        "id",
        "image",
        "instruction",
        "variations",
        "captions",
        "category",
        "edit",
        "truth",
        "image_id",
        "schema",
    ):
        for value in values:
            yield _line(good | {key: value})
    for inner in ("mask", "edited", "referred", "target", "input"):
        for value in values[:20]:
            yield _line(good | {"truth": {inner: value}})
            yield _line(good | {"captions": {"input": value, "edited": "x"}})
    for path in (
        "..",
        "../x.png",
        "/etc/passwd",
        ".",
        "out.png",
        "loop.png",
        "cat.png/x",
        "a" * 5000,
        "~/x",
        "\\\\h\\x",
        "C:\\x",
    ):
        yield _line(good | {"image": path})
        yield _line(good | {"truth": {"mask": path}})
        yield _line(good | {"id": path})
    yield _line(good) * 2
    yield _line(good) + _line(good | {"id": "A"})
    yield from (b"", b"\n\n", b"\0", b"[]", b"1", b"NaN", b'{"a":', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000)
    yield b'{"id": "a", "id": "b", "image": "cat.png", "instruction": "x"}'
    yield _line(good).decode().encode("utf-16")
    yield b"\xef\xbb\xbf" + _line(good)


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"
