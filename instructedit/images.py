"""Reading pictures as upright 8-bit RGB, writing them atomically, and panels of pictures side by side."""

import hashlib
import io
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps

from instructedit.files import kind_of_file, write_aside
from instructedit.types import Stage, StageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Accepted formats, regardless of the file's name. Formats that run an interpreter, such as EPS, are excluded."""
MAX_PIXELS = 50_000_000
PANEL_SIDE = 384
"""Height of a picture in a panel, in pixels."""
FONT_SIZE = 16
MARGIN = 12
_PNG = b"\x89PNG\r\n\x1a\n"


def picture_endings(formats: Sequence[str] = FORMATS) -> frozenset[str]:
    """Return the endings of the formats' file names, in small letters and with the dot."""
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in formats)


def load_image(path: Path | str) -> Image.Image:
    """Read a picture as 8-bit RGB, upright.

    EXIF orientation is applied, transparent pixels are composited on white, CMYK is converted by its embedded profile
    if it has one, and 16 bits are scaled (not clipped) to 8. Of several frames, the first is read. The colour profile
    of an RGB picture is ignored, as by all methods compared here.

    Args:
        path: The file.

    Returns:
        An image in mode RGB.

    Raises:
        StageError: At stage ``input``, with the path and the reason in one line: the file is missing, not a picture,
            damaged, truncated, larger than ``MAX_PIXELS``, or has floating-point pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise _refusal(path, f"{kind_of_file(path)}; a picture is expected ({', '.join(FORMATS)})")
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on; MAX_PIXELS is lower and is checked before decoding.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
        with image:
            _check_size(image, path)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except StageError:
        raise
    except Image.UnidentifiedImageError:
        raise _refusal(path, f"not a picture that can be read; accepted are {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise _refusal(path, f"too large; at most {MAX_PIXELS // 10**6} megapixels are accepted") from None
    # For damaged files, Pillow's decoders raise many types: OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as error:
        reason = f"damaged or unsupported ({' '.join(str(error).split()) or type(error).__name__})"
        raise _refusal(path, f"{reason}; a whole picture of 8 or 16 bits is expected") from error


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG under a temporary name and rename it, so that ``path`` is never incomplete."""
    with write_aside(path) as file:
        image.save(file, format="PNG")


def is_whole_png(path: Path) -> bool:
    """Return whether a file is a complete PNG: its chunks follow each other, and each has its checksum.

    The pixels are not decoded; a changed bit anywhere in the file still changes a checksum, a length or a name.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return False
    place, name = len(_PNG), b""
    if not data.startswith(_PNG):
        return False
    while name != b"IEND":
        length = int.from_bytes(data[place : place + 4], "big")
        body, end = data[place + 4 : place + 8 + length], place + 12 + length
        if len(body) < 4 or end > len(data) or zlib.crc32(body) != int.from_bytes(data[end - 4 : end], "big"):
            return False
        place, name = end, body[:4]
    return place == len(data)


def hash_image(image: Image.Image) -> str:
    """Return the SHA-256 of a picture's mode, size and pixels, in hex. It does not depend on the file format."""
    head = f"{image.mode} {image.width} {image.height} ".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def overlay(image: Image.Image, mask: Bool[np.ndarray, "h w"], opacity: float = 0.5) -> Image.Image:
    """Overlay a mask in red on a picture, as in the paper's Fig. 3.

    Args:
        image: RGB.
        mask: True where the picture becomes red; of the picture's size.
        opacity: Opacity of the red, 0 to 1.

    Returns:
        RGB, of the picture's size.

    Raises:
        ValueError: If the sizes differ.
    """
    if mask.shape != (image.height, image.width):
        raise ValueError(f"mask of {mask.shape[1]}x{mask.shape[0]} on an image of {image.width}x{image.height}")
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    red = np.array([255, 0, 0], dtype=np.float32)
    blended = np.where(mask[..., None], (1 - opacity) * pixels + opacity * red, pixels)
    return Image.fromarray(blended.round().astype(np.uint8))


def panel(images: Sequence[Image.Image], labels: Sequence[str], side: int = PANEL_SIDE) -> Image.Image:
    """Return a panel of pictures side by side, each with its label below.

    Args:
        images: RGB, of any sizes; each is scaled to the same height, or to three times that as its width.
        labels: One per picture, wrapped to the picture's width; an empty string for no label.
        side: The pictures' height in pixels.

    Returns:
        RGB on white.

    Raises:
        ValueError: If there are no pictures, or the counts differ.
    """
    if not images or len(images) != len(labels):
        raise ValueError(f"{len(images)} images and {len(labels)} labels; as many of each are needed, at least one")
    font = ImageFont.load_default(FONT_SIZE)
    pictures = [_scaled(image.convert("RGB"), side) for image in images]
    captions = [_wrapped(label, font, picture.width) for label, picture in zip(labels, pictures, strict=True)]
    line = FONT_SIZE + 4
    foot = max(len(lines) for lines in captions) * line
    width = sum(picture.width for picture in pictures) + MARGIN * (len(pictures) + 1)
    sheet = Image.new("RGB", (width, side + foot + (3 if foot else 2) * MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    left = MARGIN
    for picture, lines in zip(pictures, captions, strict=True):
        sheet.paste(picture, (left, MARGIN))
        for row, text in enumerate(lines):
            place = (left + picture.width / 2, side + 2 * MARGIN + row * line)
            draw.text(place, text, fill="black", font=font, anchor="ma")
        left += picture.width + MARGIN
    return sheet


def glimpse(image: Image.Image) -> Image.Image:
    """Return a picture as figures show it: of a filmstrip (at least eight times as high as wide), the upper square."""
    return image.crop((0, 0, image.width, image.width)) if image.height >= 8 * image.width else image


def contact_sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], columns: int = 6) -> Image.Image:
    """Return evenly spaced frames of clips, one clip in a row with its name above.

    Args:
        rows: Name and RGB frames of each clip; all frames have one size.
        columns: Number of frames of a row, or fewer if a clip has fewer.
    """
    strips = []
    for _, frames in rows:
        places = sorted({round(i * (len(frames) - 1) / max(1, columns - 1)) for i in range(columns)})
        strips.append(np.concatenate([frames[i] for i in places], axis=1))
    line, font = FONT_SIZE + 8, ImageFont.load_default(FONT_SIZE)
    height = sum(strip.shape[0] + line for strip in strips) + MARGIN
    sheet = Image.new("RGB", (max(strip.shape[1] for strip in strips) + 2 * MARGIN, height), "white")
    draw, top = ImageDraw.Draw(sheet), 4
    for (name, _), strip in zip(rows, strips, strict=True):
        draw.text((MARGIN, top), name, fill="black", font=font)
        sheet.paste(Image.fromarray(strip), (MARGIN, top + line - 4))
        top += strip.shape[0] + line
    return sheet


def _refusal(path: Path, reason: str) -> StageError:
    # A name of a file must not reach the terminal as control characters.
    name = str(path) if str(path).isprintable() else repr(str(path))
    return StageError(Stage.INPUT, f"{name}: {reason}")


def _check_size(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MAX_PIXELS:
        limit = f"at most {MAX_PIXELS // 10**6} megapixels are accepted"
        raise _refusal(path, f"{image.width}x{image.height} pixels; {limit}")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _from_16_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        return _by_profile(image)
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey pixels to 8 bits; Pillow's ``convert`` would clip them at 255."""
    pixels = np.asarray(image)
    # Some formats store 16-bit pixels as 32-bit integers. True 32-bit and float pixels have no defined white.
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("32-bit pixels, whose white is not defined")
    grey = Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(pixels == transparent, 0, 255).astype(np.uint8)))
    return grey


def _by_profile(image: Image.Image) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    # With a damaged profile, Pillow's profile-free conversion is used.
    except (ImageCms.PyCMSError, OSError):
        converted = None
    return image.convert("RGB") if converted is None else converted


def _scaled(image: Image.Image, side: int) -> Image.Image:
    """Return the picture at height ``side``, or at width ``3 * side`` if it would be wider."""
    scale = min(side / image.height, 3 * side / image.width)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Small pictures are enlarged by whole factors without interpolation, so that single pixels stay visible.
    whole = scale >= 2 and scale == round(scale)
    return image.resize(size, Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        # A word wider than the picture, such as a path, is split.
        while len(word) > 1 and font.getlength(word) > width:
            fit = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
            lines.append(word[:fit])
            word = word[fit:]
        lines.append(word)
    return lines


def mask_image(mask: Bool[np.ndarray, "h w"]) -> Image.Image:
    """Return a mask as a grey picture, white where it is True."""
    return Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
