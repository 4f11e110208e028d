"""Checkpoints: their names, their fingerprints, and which of their files are missing.

This module does not import torch, which takes seconds, so that missing checkpoints are reported at once.
"""

import contextlib
import hashlib
import json
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from platformdirs import user_cache_path

from instructedit import hub
from instructedit.checks import require_one_of
from instructedit.files import kind_of_file, located, write_aside
from instructedit.types import ConfigError

FETCH = "python -m scripts.models fetch models=<preset> brings it"
IMPLEMENTATIONS = ("transformers", hub.OPEN_CLIP)
DTYPES = ("float32", "float16", "bfloat16")
CHECKPOINT = "instructedit.models.Checkpoint"
"""The ``_target_`` of a checkpoint in the configuration."""
FOLDER = "instructedit.checkpoints.Folder"
"""The ``_target_`` of a folder that is identified by its content."""
BY_CONTENT = (CHECKPOINT, FOLDER)
"""The ``_target_`` of what a run's address contains by its fingerprint and not by its path."""
KEPT = user_cache_path("instructedit") / "fingerprints"
"""Where hashes of local folders are kept, so that gigabytes of weights are not read at every start."""
SETTLED_SECONDS = 2
PIPELINE = "pipeline"
"""Group of ``conf/`` whose presets name a checkpoint of their own."""
OPTIONAL = "optional."
"""Prefix of a preset's keys for checkpoints that are used only when a configuration selects them."""


@dataclass(frozen=True)
class Checkpoint:
    """A model: a local ``save_pretrained`` folder, or a hub id with its pinned revision.

    A folder of that name in the working directory, or in this project, takes precedence over the hub. This class
    downloads nothing; ``python -m scripts.models fetch`` does.

    Raises:
        ConfigError: A field has a value that is not accepted.
    """

    id: str
    revision: str | None = None
    dtype: str = "float32"
    variant: str | None = None
    """Variant of the weight files, such as fp16, if the hub has safetensors of this variant only. It is ignored for
    folders whose weight files have plain names."""
    source: str | None = None
    """URL from which ``scripts.models fetch`` downloads the folder ``id``, for weights that are not on the hub."""
    base: str | None = None
    """A local folder with the parts (vae, text_encoder, ...) that the local folder ``id`` lacks."""
    implementation: str = "transformers"
    """The library that loads a CLIP model: ``transformers`` or ``open_clip``. Ignored for other models."""

    def __post_init__(self) -> None:
        require_one_of("dtype", self.dtype, DTYPES)
        if self.base is not None and not located(self.base).is_dir():
            raise ConfigError(f"checkpoint {self.id!r}: base={self.base!r} is not a folder")
        require_one_of("implementation", self.implementation, IMPLEMENTATIONS)
        if not self.is_local and self.revision is None and self.source is None:
            raise ConfigError(
                f"checkpoint {self.id!r}: no such folder, and a hub id needs a pinned revision=<commit> beside it"
            )

    @property
    def is_local(self) -> bool:
        """Whether ``id`` is an existing local folder."""
        return located(self.id).is_dir()

    @property
    def fingerprint(self) -> dict[str, str]:
        """The identity of the weights: the content hash of a folder (not its path), or a hub id and its revision."""
        return fingerprint(asdict(self), self.version)

    @property
    def files(self) -> str | None:
        """The ``variant`` argument of :mod:`instructedit.hub` that selects this checkpoint's weight files."""
        return hub.OPEN_CLIP if self.implementation == hub.OPEN_CLIP else self.variant

    @property
    def version(self) -> str:
        """The revision that records name: a hub commit, or the hash of a folder's content."""
        if not self.is_local:
            return str(self.revision)
        hashes = [folder_hash(located(self.id)), *(folder_hash(part) for part in self._borrowed())]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """The local folder, or the snapshot in the hub's cache.

        Raises:
            ConfigError: The folder does not exist.
        """
        folder, _ = self._locate()
        if folder is None:
            raise ConfigError(f"checkpoint {self.id} is missing: {self.missing()}; {FETCH}")
        return folder

    def part_folder(self, part: str | None) -> Path:
        """Return the folder that contains the subfolder ``part``: ``folder``, or ``base`` if ``folder`` lacks it.

        Raises:
            ConfigError: The folder does not exist.
        """
        folder = self.folder
        return located(self.base) if self.base and part and not (folder / part).is_dir() else folder

    def _borrowed(self) -> list[Path]:
        if not self.base:
            return []
        names = {p.name for p in located(self.id).iterdir()}
        return [p for p in sorted(located(self.base).iterdir()) if p.is_dir() and p.name not in names]

    def missing(self) -> str | None:
        """Return a message that names the files missing on this machine; None if the checkpoint is complete."""
        folder, is_partial = self._locate()
        if folder is None:
            return "no such folder" if self.source else f"revision {self.revision} is not in the hub's cache"
        files = hub.missing_files(folder, self.files)
        if files and self.is_local and self.variant:
            files = hub.missing_files(folder)  # local copies may hold their weights under plain names
        if self.base:
            borrowed, base = {part.name for part in self._borrowed()}, located(self.base)
            own = [name for name in files if name.partition("/")[0] not in borrowed]
            files = own + [f"{self.base}/{n}" for n in hub.missing_files(base) if n.partition("/")[0] in borrowed]
        if files:
            return ", ".join(files)
        return f"files that the hub lists are not in {folder}" if is_partial else None

    def _locate(self) -> tuple[Path | None, bool]:
        if self.is_local or self.revision is None:
            return (located(self.id) if self.is_local else None), False
        return hub.snapshot(self.id, self.revision, self.files)


@dataclass(frozen=True)
class Folder:
    """A folder whose content decides a run's numbers, such as pictures that were edited elsewhere.

    Raises:
        ConfigError: There is no such folder.
    """

    id: str
    keys: str = ""
    """Keys of the configuration that set ``id``, for the message."""

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            hint = f" ({self.keys})" if self.keys else ""
            raise ConfigError(f"{self.id}: {kind_of_file(self.folder)}; a folder is expected{hint}")

    @property
    def folder(self) -> Path:
        """The folder."""
        return located(self.id)

    @property
    def version(self) -> str:
        """Hash of the content."""
        return folder_hash(self.folder)

    @property
    def fingerprint(self) -> dict[str, str]:
        """The identity of the content."""
        return fingerprint({}, self.version)

    def missing(self) -> None:
        """Return None: what the folder should contain is known to its user only."""


def fingerprint(fields: Mapping[str, Any], version: str) -> dict[str, str]:
    """Return the fingerprint of a checkpoint whose files need not be on this machine.

    Args:
        fields: Fields of :class:`Checkpoint`; those with a default may be missing.
        version: :attr:`Checkpoint.version` on the machine that loaded the checkpoint: the revision if the weights came
            from the hub, otherwise the hash of a folder's content.
    """
    dtype = fields.get("dtype", Checkpoint.dtype)
    implementation = fields.get("implementation", Checkpoint.implementation)
    library = {"implementation": implementation} if implementation == hub.OPEN_CLIP else {}
    if version != str(fields.get("revision")):
        return {"content": version, "dtype": dtype} | library
    variant = {"variant": fields["variant"]} if fields.get("variant") else {}
    return {"id": fields["id"], "revision": version, "dtype": dtype} | variant | library


@cache
def folder_hash(folder: Path) -> str:
    """Return a hash of a folder's weights and configurations with their relative paths: SHA-256, 16 hex digits.

    The hash is kept in the user's cache folder, and computed again when a file's size, times or inode have changed.
    """
    # Changes to cards and READMEs do not change the model.
    names = (p for p in sorted(folder.rglob("*")) if p.name not in ("README.md", "card.json", "LICENSE"))
    return files_hash(folder, [path for path in names if path.is_file() and not path.name.startswith(".")])


def files_hash(folder: Path, files: Sequence[Path]) -> str:
    """Return a hash of files in a folder with their relative paths, kept like that of :func:`folder_hash`."""
    stats = [path.stat() for path in files]
    # The time of the last change of the inode cannot be set back, as that of the content can.
    state = [
        [str(path.relative_to(folder)), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino]
        for path, s in zip(files, stats, strict=True)
    ]
    kept = KEPT / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(kept.read_bytes())
        if known["files"] == state:
            return str(known["hash"])
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(f"{path.relative_to(folder)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    found = total.hexdigest()[:16]
    # A file that changes again within the clock's resolution would keep its times.
    if all(time.time() - s.st_ctime > SETTLED_SECONDS for s in stats):
        with contextlib.suppress(OSError), write_aside(kept) as out:
            out.write(json.dumps({"folder": str(folder.resolve()), "hash": found, "files": state}).encode())
    return found


def require_checkpoints(models: Any, *users: Any) -> None:
    """Check that all checkpoints of some parts of a configuration are on this machine; a run downloads nothing.

    Args:
        models: The models preset; its keys select what to fetch.
        *users: The parts; empty ones are skipped.

    Raises:
        ConfigError: Checkpoints are missing; the message names them and the command that fetches them.
    """
    nodes = [OmegaConf.to_container(node, resolve=True) for node in users if node]
    used = dict.fromkeys(c for node in nodes for c in checkpoints(node))
    missing = {c: words for c in used if (words := c.missing())}
    if missing:
        keys: dict[Checkpoint | Folder, str] = {}
        for key, c in by_key(OmegaConf.to_container(models, resolve=True)):
            # Optional checkpoints come last in a preset, so a selected one is fetched by the key that selected it.
            keys.setdefault(c, key)
        lines = "; ".join(f"{c.id} ({words})" for c, words in missing.items())
        of_preset = [keys[c] for c in missing if c in keys]
        commands = [fetch_command(of_preset)] if of_preset or not _choice(PIPELINE) else []
        commands += [fetch_command(group=PIPELINE)] if len(of_preset) < len(missing) and _choice(PIPELINE) else []
        raise ConfigError(f"checkpoints are missing: {lines}; fetch them with: {' && '.join(commands)}")


def fetch_command(keys: Sequence[str] = (), group: str = "models") -> str:
    """Return the command that fetches the checkpoints of a preset.

    Args:
        keys: Keys of the preset; if one of them is optional, only these are fetched.
        group: ``models``, or ``pipeline`` for the checkpoint of ``method=pipeline``.
    """
    arguments = [f"{group}=<preset>"]
    if HydraConfig.initialized():
        overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # keeps ${...} as written
        keep = "models" if group == "models" else f"{PIPELINE}.checkpoint"
        changes = [o for o in map(str, overrides or []) if re.match(rf"\+*~?{re.escape(keep)}\.", o)]
        arguments = [f"{group}={_choice(group)}", *changes]
    # Without `only`, fetch downloads all checkpoints except the optional ones.
    only = [f"only=[{','.join(keys)}]"] if any(k.startswith(OPTIONAL) for k in keys) else []
    return shlex.join(["python", "-m", "scripts.models", "fetch", *arguments, *only])


def _choice(group: str) -> str | None:
    """Return the name of the file that is selected in a group of ``conf/``; None outside of Hydra."""
    return HydraConfig.get().runtime.choices.get(group) if HydraConfig.initialized() else None


def by_key(node: Any, prefix: str = "") -> Iterator[tuple[str, Checkpoint]]:
    """Yield every checkpoint of a preset with its key; keys of nested groups are joined by dots."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            if value.get("_target_") == CHECKPOINT:
                yield f"{prefix}{key}", named(value)
            else:
                yield from by_key(value, f"{prefix}{key}.")


def checkpoints(node: Any) -> Iterator[Checkpoint | Folder]:
    """Yield every checkpoint, and every folder that counts by its content, that a configuration names."""
    if isinstance(node, Mapping):
        if node.get("_target_") in BY_CONTENT:
            yield Folder(**_fields(node)) if node["_target_"] == FOLDER else named(node)
        else:
            yield from checkpoints(list(node.values()))
    elif isinstance(node, list):
        for value in node:
            yield from checkpoints(value)


def named(node: Mapping[str, Any]) -> Checkpoint:
    """Return the checkpoint that a mapping of the configuration describes."""
    return Checkpoint(**_fields(node))


def _fields(node: Mapping[str, Any]) -> dict[str, Any]:
    return {str(k): v for k, v in node.items() if k != "_target_"}
