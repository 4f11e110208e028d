"""Pictures are read as upright RGB or refused in one line, written atomically, and shown side by side."""

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from instructedit.images import hash_image, load_image, overlay, panel, save_png
from instructedit.types import StageError

ORIENTATION = 0x0112


def noise(height: int = 40, width: int = 60, channels: int = 3) -> Image.Image:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def refusal(path: Path) -> str:
    with pytest.raises(StageError) as caught:
        load_image(path)
    assert caught.value.stage == "input"
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_rgb_comes_back_unchanged(tmp_path):
    save_png(noise(), tmp_path / "a.png")
    assert load_image(tmp_path / "a.png") == noise()
    assert hash_image(load_image(str(tmp_path / "a.png"))) == hash_image(noise())


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_orientation_is_applied_once(tmp_path, suffix):
    image = Image.new("RGB", (60, 40), "white")
    image.paste("black", (0, 0, 30, 20))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # shown turned by 90 degrees clockwise
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    loaded = load_image(tmp_path / f"a.{suffix}")
    assert loaded.size == (40, 60)
    assert pixels(loaded)[10, 30].max() < 30  # top left went to top right
    assert pixels(loaded)[10, 10].min() > 225
    assert loaded.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_on_white(tmp_path, mode):
    image = Image.new(mode, (2, 1), 0)
    image.putpixel((1, 0), (0, 0, 0, 128) if mode == "RGBA" else (0, 128))
    image.save(tmp_path / "a.png")
    clear, half = pixels(load_image(tmp_path / "a.png"))[0]
    assert clear.tolist() == [255, 255, 255]
    assert half == pytest.approx([127, 127, 127], abs=1)


def test_transparent_palette_entry_is_laid_on_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.gif", transparency=0)
    assert pixels(load_image(tmp_path / "a.gif"))[0].tolist() == [[255, 255, 255], [0, 0, 255]]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    assert pixels(load_image(tmp_path / name))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_sixteen_bit_orientation(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert pixels(load_image(tmp_path / "a.png"))[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_and_palette_become_rgb(tmp_path, mode):
    image = noise(channels=1).convert(mode)
    image.save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png") == image.convert("RGB")


def test_cmyk_becomes_rgb(tmp_path):
    for name in ("a.jpg", "a.tif"):
        Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / name)
        assert pixels(load_image(tmp_path / name))[8, 8] == pytest.approx([255, 0, 0], abs=3)


def test_cmyk_with_a_damaged_profile_falls_back_on_the_formula(tmp_path):
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.jpg", icc_profile=b"no profile")
    assert pixels(load_image(tmp_path / "a.jpg"))[8, 8] == pytest.approx([0, 255, 255], abs=3)


def test_cmyk_with_a_profile_of_another_space_falls_back_on_the_formula(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.tif", icc_profile=profile)
    assert pixels(load_image(tmp_path / "a.tif"))[8, 8] == pytest.approx([0, 255, 255], abs=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_files_cut_short_are_refused(tmp_path, kind):
    buffer = io.BytesIO()
    noise(200, 200).save(buffer, kind)
    path = tmp_path / "cut"
    path.write_bytes(buffer.getvalue()[: buffer.tell() // 2])
    refusal(path)


def test_missing_folder_empty_and_text_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.png")
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "link.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "link.png: a dead link" in refusal(tmp_path / "link.png")
    assert "pipe.png: a named pipe" in refusal(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("<html>not found</html>")
    assert "JPEG" in refusal(tmp_path / "empty.png")
    assert "JPEG" in refusal(tmp_path / "text.jpg")


def test_postscript_is_not_interpreted(tmp_path):
    noise().save(tmp_path / "a.eps")
    assert "not a picture" in refusal(tmp_path / "a.eps")


@pytest.mark.parametrize("size", [(7072, 7072), (10_000, 10_000), (30_000, 30_000)])
@pytest.mark.filterwarnings("error")
def test_oversized_files_are_refused_before_decoding(tmp_path, size):
    # The file has the header of a very large picture, but no pixels.
    header = io.BytesIO()
    Image.new("1", (8, 8)).save(header, "PNG")
    data = bytearray(header.getvalue())
    data[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    assert "50 megapixels" in refusal(tmp_path / "bomb.png")


def test_float_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "a.tif")
    assert "32-bit" in refusal(tmp_path / "a.tif")


def test_save_png_leaves_the_old_picture_when_it_fails(tmp_path):
    path = tmp_path / "folder" / "a.png"
    save_png(noise(), path)
    with pytest.raises(OSError, match="mode"):
        save_png(Image.new("CMYK", (4, 4)), path)
    assert load_image(path) == noise()
    assert list(path.parent.iterdir()) == [path]


def test_overlay_reddens_the_mask_only():
    mask = np.zeros((40, 60), dtype=bool)
    mask[:10] = True
    laid = pixels(overlay(noise(), mask))
    assert (laid[10:] == pixels(noise())[10:]).all()
    assert laid[:10] == pytest.approx((pixels(noise())[:10] + [255, 0, 0]) / 2, abs=1)
    with pytest.raises(ValueError, match="40x60"):
        overlay(noise(), mask.T)


def test_panel_shows_pictures_and_captions():
    small = Image.fromarray(np.kron(np.eye(4, dtype=np.uint8), np.full((8, 8), 255, dtype=np.uint8)))
    sheet = panel([small, noise(500, 250)], ["input", "Change the bigger cat to a lion, " * 3 + "x" * 200])
    assert sheet.width == 12 + 384 + 12 + 192 + 12
    assert sheet.height > 384 + 24
    scaled = sheet.crop((12, 12, 12 + 384, 12 + 384))
    assert set(np.unique(pixels(scaled))) == {0, 255}  # squares, not blur
    foot = pixels(sheet)[12 + 384 + 12 :]
    assert foot[:, :400].min() < 128
    assert foot[:, 408:-12].min() < 128
    assert foot[:, -6:].min() == 255  # nothing sticks out
    assert panel([small], [""]).height == 384 + 24
    # A very wide picture is bounded in width, and stands at the top.
    wide = panel([Image.new("RGB", (6000, 1), "red"), small], ["", ""])
    assert wide.width < 4 * 384 + 100
    assert wide.getpixel((20, 12)) == (255, 0, 0)
    with pytest.raises(ValueError, match="1 images and 2 labels"):
        panel([small], ["a", "b"])
