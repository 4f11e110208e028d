"""Draw the sprite atlas from Debian's ``fonts-noto-color-emoji``. The atlas is committed; nothing else needs the font.

    python -m scripts.draw atlas

The emoji images are Google's Noto Color Emoji, Apache-2.0 (see NOTICE).
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from data.picturebook.world import ATLAS, ATLAS_COLUMNS, SPRITE_SIZE, SPRITES

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
# The font has bitmaps of this size only; FreeType refuses any other size.
FONT_SIZE = 109
EMOJI = {
    "cat": "🐱", "dog": "🐶", "lion": "🦁", "fox": "🦊", "panda": "🐼", "frog": "🐸", "bear": "🐻",
    "horse": "🐴", "zebra": "🦓", "apple": "🍎", "orange": "🍊", "lemon": "🍋", "strawberry": "🍓",
    "shrimp": "🦐", "cake": "🍰", "pizza": "🍕", "car": "🚗", "house": "🏠", "tree": "🌲", "ball": "⚽",
    "balloon": "🎈", "rose": "🌹", "hat": "🎩", "crown": "👑", "bow": "🎀", "glasses": "👓",
    "sunglasses": "🕶", "scarf": "🧣",
}  # fmt: skip


def sprite(character: str) -> Image.Image:
    """Return an emoji, cropped to its visible pixels and centred on a transparent square of ``SPRITE_SIZE`` pixels."""
    canvas = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    font = ImageFont.truetype(str(FONT), FONT_SIZE)
    ImageDraw.Draw(canvas).text((10, 10), character, font=font, embedded_color=True)
    ink = canvas.crop(canvas.getbbox())
    side = max(ink.size)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    return square.resize((SPRITE_SIZE, SPRITE_SIZE), Image.Resampling.LANCZOS)


def draw() -> None:
    """Write the atlas."""
    rows = -(-len(SPRITES) // ATLAS_COLUMNS)
    atlas = Image.new("RGBA", (ATLAS_COLUMNS * SPRITE_SIZE, rows * SPRITE_SIZE), (0, 0, 0, 0))
    for index, noun in enumerate(SPRITES):
        row, column = divmod(index, ATLAS_COLUMNS)
        atlas.paste(sprite(EMOJI[noun]), (column * SPRITE_SIZE, row * SPRITE_SIZE))
    atlas.save(ATLAS, optimize=True)
