"""Edits made elsewhere: a folder of pictures takes the place of a method.

A picture lies at any depth of the folder and is named after its sample: ``<id>.png``, or another ending. The edits of a
run of this project are named like this, and so are those that the authors' code of PIE-Bench, ImgEdit, GEdit-Bench and
RefEdit-Bench writes.
"""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from instructedit.checkpoints import Folder
from instructedit.checks import require_one_of
from instructedit.images import FORMATS, load_image, picture_endings
from instructedit.models import Context
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Method, Stage, StageError

SIZES = ("resample", "same")
LARGEST_STRETCH = 1.1
"""Greatest ratio of the aspect ratios of edit and input: models round both sides to multiples of up to 64 pixels."""


class Outputs(Method):
    """Return the pictures of a folder as edits; a sample without a picture is a failure that names the file.

    The time and the memory that the edits took are unknown, and nothing is recorded for them.

    Args:
        context: Not used; every method receives one.
        edits: The folder.
        size: ``resample`` resamples an edit of another size to the input's size, if the aspect ratios differ by at most
            10 %; with ``same``, an edit of another size is a failure.

    Raises:
        ConfigError: There is no picture in the folder, or ``size`` is not accepted.
    """

    works_at_full_size = True

    def __init__(self, context: Context, edits: Folder, size: str) -> None:
        require_one_of("method.size", size, SIZES)
        self.folder, self.size = edits.folder, size
        self._files: dict[str, list[Path]] = {}
        for path in _pictures(edits.folder):
            self._files.setdefault(path.stem, []).append(path)
        if not self._files:
            accepted = f"pictures named after the samples ({', '.join(FORMATS)})"
            raise ConfigError(f"{edits.id}: no pictures in it; accepted are {accepted}")

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Return one picture per request, in the order of the requests."""
        return [self._read(request) for request in requests]

    def _read(self, request: EditRequest) -> EditResult | Failure:
        try:
            path = self._path(request.id)
            return EditResult(request.id, self._fitted(path, load_image(path), request.image.size))
        except (FileNotFoundError, ValueError, StageError) as error:
            return Failure(request.id, Stage.INPUT, type(error).__name__, str(error))

    def _path(self, sample_id: str) -> Path:
        found = self._files.get(sample_id, [])
        if not found:
            raise FileNotFoundError(f"{self.folder / sample_id}.png: no such file, nor with another ending or deeper")
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(self.folder)) for path in found)
            raise ValueError(f"{self.folder}: several pictures of this sample, one is expected: {names}")
        return found[0]

    def _fitted(self, path: Path, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        if image.size == size:
            return image
        stretch = image.width * size[1] / (image.height * size[0])
        if self.size == "same" or not 1 / LARGEST_STRETCH <= stretch <= LARGEST_STRETCH:
            edited, expected = ("x".join(map(str, sides)) for sides in (image.size, size))
            raise ValueError(f"{path}: {edited} pixels; the input is {expected}")
        return image.resize(size, Image.Resampling.LANCZOS)


def _pictures(folder: Path) -> list[Path]:
    endings = picture_endings()
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file() and p.name[0] != ".")
