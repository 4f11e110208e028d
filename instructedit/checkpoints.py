"""Checkpoints: what they are called, what is in them, and which are missing.

Imports no torch, which takes seconds: what is missing is said at once.
"""

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from instructedit import hub
from instructedit.checks import require_one_of
from instructedit.types import ConfigError

FETCH = "python -m scripts.models fetch models=<preset> brings it"
IMPLEMENTATIONS = ("transformers", hub.OPEN_CLIP)
DTYPES = ("float32", "float16", "bfloat16")
CHECKPOINT = "instructedit.models.Checkpoint"
"""What the configuration calls a checkpoint."""
OPTIONAL = "optional."
"""How the keys of a preset begin that nothing uses until told so."""


@dataclass(frozen=True)
class Checkpoint:
    """A model by name: a local ``save_pretrained`` folder, or a hub id with its pinned revision.

    A folder of that name wins over the hub. Nothing is downloaded here: ``python -m scripts.models fetch`` does that.
    """

    id: str
    revision: str | None = None
    dtype: str = "float32"
    variant: str | None = None
    """Of the weights' files, such as fp16, where the hub has safetensors of no other; folders without are as good."""
    source: str | None = None
    """Where ``scripts.models fetch`` has the folder ``id`` from, for weights that are on no hub: a URL."""
    base: str | None = None
    """A local folder that holds the parts (vae, text_encoder, ...) which the local folder ``id`` lacks."""
    implementation: str = "transformers"
    """The library that loads a CLIP: ``transformers`` or ``open_clip``. Other models have one library each."""

    def __post_init__(self) -> None:
        require_one_of("dtype", self.dtype, DTYPES)
        if self.base is not None and not Path(self.base).is_dir():
            raise ConfigError(f"checkpoint {self.id!r}: base={self.base!r} is no folder")
        require_one_of("implementation", self.implementation, IMPLEMENTATIONS)
        if not self.is_local and self.revision is None and self.source is None:
            raise ConfigError(
                f"checkpoint {self.id!r}: no such folder, and a hub id needs a pinned revision=<commit> beside it"
            )

    @property
    def is_local(self) -> bool:
        """Whether a folder of that name is there."""
        return Path(self.id).is_dir()

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides the numbers: content for a folder (its path does not), id and revision for a hub id."""
        return fingerprint(asdict(self), self.version)

    @property
    def files(self) -> str | None:
        """Which of a repository's files hold the weights, as :mod:`instructedit.hub` takes it for ``variant``."""
        return hub.OPEN_CLIP if self.implementation == hub.OPEN_CLIP else self.variant

    @property
    def version(self) -> str:
        """What a record names as the revision: a hub commit, or the hash of a folder's content."""
        if not self.is_local:
            return str(self.revision)
        hashes = [folder_hash(Path(self.id)), *(folder_hash(part) for part in self._borrowed())]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where it lies: the folder of that name, or the snapshot in the hub's cache.

        Raises:
            ConfigError: it is not there.
        """
        found, _ = self._found()
        if found is None:
            raise ConfigError(f"checkpoint {self.id} is missing: {self.missing()}; {FETCH}")
        return found

    def part_folder(self, part: str | None) -> Path:
        """The folder that ``part`` is a subfolder of: its own, or ``base`` where it lacks that part.

        Raises:
            ConfigError: it is not there.
        """
        own = self.folder
        return Path(self.base) if self.base and part and not (own / part).is_dir() else own

    def _borrowed(self) -> list[Path]:
        own = {p.name for p in Path(self.id).iterdir()}
        return [p for p in sorted(Path(self.base).iterdir()) if p.is_dir() and p.name not in own] if self.base else []

    def missing(self) -> str | None:
        """What of it is not on this machine, in words; nothing if it is complete."""
        found, is_partial = self._found()
        if found is None:
            return "no such folder" if self.source else f"revision {self.revision} is not in the hub's cache"
        lacking = hub.missing_files(found, self.files)
        if lacking and self.is_local and self.variant:
            lacking = hub.missing_files(found)  # a copy of one's own may have its weights under their plain names
        if lacking:
            return ", ".join(lacking)
        return f"files that the hub lists are not in {found}" if is_partial else None

    def _found(self) -> tuple[Path | None, bool]:
        if self.is_local or self.revision is None:
            return (Path(self.id) if self.is_local else None), False
        return hub.snapshot(self.id, self.revision, self.files)


def fingerprint(fields: Mapping[str, Any], version: str) -> dict[str, str]:
    """The fingerprint of a checkpoint whose files need not be on this machine.

    Args:
        fields: Of :class:`Checkpoint`; those with a default may be missing.
        version: From :attr:`Checkpoint.version` on the machine that loaded it. It is the revision where the weights
            came from the hub, and else the hash of a folder's content.
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
    """SHA-256 over the weights and configurations in a folder, by relative path; 16 hex digits."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        # Cards and read-mes may be reworded without making another model.
        if path.is_file() and path.name not in ("README.md", "card.json", "LICENSE") and not path.name.startswith("."):
            with path.open("rb") as file:
                total.update(
                    f"{path.relative_to(folder)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                )
    return total.hexdigest()[:16]


def require_checkpoints(models: Any, *users: Any) -> None:
    """Refuse parts of a configuration whose checkpoints are not all on this machine: a run never downloads.

    Args:
        models: The preset, by whose keys checkpoints are fetched.
        *users: The parts; those that are empty use none.

    Raises:
        ConfigError: names each that is missing, and the one command that fetches them.
    """
    nodes = [OmegaConf.to_container(node, resolve=True) for node in users if node]
    used = dict.fromkeys(c for node in nodes for c in checkpoints(node))
    missing = {c: words for c in used if (words := c.missing())}
    if missing:
        keys: dict[Checkpoint, str] = {}
        for key, c in by_key(OmegaConf.to_container(models, resolve=True)):
            # The optional ones stand last: one that was chosen is fetched by the key that it was chosen for.
            keys.setdefault(c, key)
        lines = "; ".join(f"{c.id} ({words})" for c, words in missing.items())
        command = fetch_command([keys[c] for c in missing if c in keys])
        raise ConfigError(f"checkpoints are missing: {lines}; fetch them with: {command}")


def fetch_command(keys: Sequence[str] = ()) -> str:
    """What fetches the checkpoints of the models that this command chose; of ``keys`` if one of them is optional."""
    chosen = ["models=<preset>"]
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        given = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # as it was written, ${...} and all
        changes = [o for o in map(str, given or []) if re.match(r"\+*~?models\.", o)]
        chosen = [f"models={hydra.runtime.choices['models']}", *changes]
    # Without any, fetch brings all but the optional ones.
    only = [f"only=[{','.join(keys)}]"] if any(k.startswith(OPTIONAL) for k in keys) else []
    return shlex.join(["python", "-m", "scripts.models", "fetch", *chosen, *only])


def by_key(node: Any, prefix: str = "") -> Iterator[tuple[str, Checkpoint]]:
    """Every checkpoint of a preset with its key, those of a group as group.key."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            if value.get("_target_") == CHECKPOINT:
                yield f"{prefix}{key}", named(value)
            else:
                yield from by_key(value, f"{prefix}{key}.")


def checkpoints(node: Any) -> Iterator[Checkpoint]:
    """Every checkpoint that a configuration names."""
    if isinstance(node, Mapping):
        if node.get("_target_") == CHECKPOINT:
            yield named(node)
        else:
            yield from checkpoints(list(node.values()))
    elif isinstance(node, list):
        for value in node:
            yield from checkpoints(value)


def named(node: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint that a mapping of the configuration names."""
    return Checkpoint(**{str(k): v for k, v in node.items() if k != "_target_"})
