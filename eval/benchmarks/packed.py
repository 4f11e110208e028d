"""Pictures of a benchmark that are kept in one archive beside its manifest, and unpacked in place at the first use.

An archive keeps a repository small in files, and the pictures equal on every machine and with every version of Pillow.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from tqdm import tqdm

from instructedit.files import remove_leftovers, write_aside
from instructedit.types import ConfigError

ARCHIVE = "pictures.zip"
SUFFIXES = (".png", ".webp")
_MARK = b"pictures of a benchmark, unpacked in place at the first use"
"""The archive's comment. Another archive of the same name, such as a download, is left alone."""


def pack(folder: Path) -> None:
    """Write ``pictures.zip`` with every picture below a folder; equal pictures make an equal archive.

    The pictures are stored and not compressed: they are compressed already, and the bytes of a compressed archive would
    depend on the version of zlib.
    """
    with write_aside(folder / ARCHIVE) as file, ZipFile(file, "w") as archive:
        archive.comment = _MARK
        for path in sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES):
            info = ZipInfo(path.relative_to(folder).as_posix())  # without a time
            info.create_system = 3  # as on Unix, everywhere
            archive.writestr(info, path.read_bytes())


def unpack(folder: Path) -> None:
    """Write the pictures of ``pictures.zip`` that a folder lacks or has with other content.

    Every picture is written aside and renamed. Thus a killed process leaves no incomplete picture, the next call goes
    on where it stopped, and several processes may unpack one folder at the same time.

    Args:
        folder: The benchmark's folder; without an archive, nothing is done.

    Raises:
        ConfigError: The archive is damaged or would write outside the folder, or the folder cannot be written. The
            one-line message names the file and says what to do.
    """
    path = folder / ARCHIVE
    if not path.is_file():
        return
    try:
        with ZipFile(path) as archive:
            missing = list(_missing(archive, folder)) if archive.comment == _MARK else []
            if not missing:
                return
            remove_leftovers({folder / Path(info.filename).parent for info in missing})
            for info in tqdm(missing, desc=f"unpacking {path}", unit="picture"):
                data = archive.read(info)
                # Not synced, because a picture that a crash of the machine has damaged is written again.
                with write_aside(folder / info.filename, sync=False) as file:
                    file.write(data)
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: damaged ({reason}); get the file again, as with: git checkout -- {path}") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: its pictures cannot be unpacked beside it ({error.strerror or error}); run the command once as a "
            "user who may write there, or use a copy of the folder"
        ) from error


def unpack_around(path: Path) -> None:
    """Unpack the pictures of the benchmark whose folder contains a path, if there is one; see :func:`unpack`."""
    for folder in path.absolute().parents:
        unpack(folder)


def _missing(archive: ZipFile, folder: Path) -> Iterator[ZipInfo]:
    """Yield the pictures of an archive that a folder lacks or has with other content."""
    root = folder.resolve()
    for info in archive.infolist():
        path = folder / info.filename
        # Resolved, because a folder of pictures may be a link to elsewhere.
        if not path.resolve().is_relative_to(root) or path.suffix not in SUFFIXES:
            raise ConfigError(f"{folder / ARCHIVE}: {info.filename}: accepted are {', '.join(SUFFIXES)} in the folder")
        # The size first, which needs no reading.
        is_there = path.is_file() and path.stat().st_size == info.file_size
        if not is_there or zlib.crc32(path.read_bytes()) != info.CRC:
            yield info
