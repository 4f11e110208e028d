"""Snapshots in the hub's cache: their folders, their missing files, and how to fetch them.

Only :func:`fetch` uses the network. The cache is the hub's own (``HF_HOME``, ``HF_HUB_CACHE``), so files that other
programs have downloaded are found, and a copy of another machine's cache works.
"""

import json
import re
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

NETWORKS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
"""Parts of a Stable Diffusion folder that hold weights, with the stems of their weight files."""
SECOND = {"text_encoder_2": "model"}
"""Additional parts of an SDXL folder."""
OPEN_CLIP = "open_clip"
"""Value of ``variant`` for repositories in open_clip's format."""
OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_TEXTS = ["*.json", "*.txt", "*.model", "*.jinja"]
# Repositories hold the same weights in several formats; SD v1.5's has 30 GB of them.
_NEVER = ["safety_checker/*", "feature_extractor/*", "onnx/*", "openvino/*", "vae_1_0/*"]


class FetchError(Exception):
    """A repository could not be fetched; the one-line message gives the reason and the remedy."""


def is_pinned(revision: str) -> bool:
    """Return whether a revision is a commit hash and not a branch or tag, which can move."""
    return re.fullmatch("[0-9a-f]{40}", revision) is not None


def patterns(variant: str | None) -> list[str]:
    """Return glob patterns of the files that are downloaded: safetensors of one variant, and small text files."""
    if variant == OPEN_CLIP:
        return [*_TEXTS, OPEN_CLIP_WEIGHTS]
    end = f".{variant}.safetensors" if variant else ".safetensors"
    stems = "model", "diffusion_pytorch_model"
    names = [name for stem in stems for name in (f"{stem}{end}", f"{stem}-?????-of-?????.safetensors")]
    return [*_TEXTS, *names, *(f"*/{name}" for name in names)]


def snapshot(repo: str, revision: str, variant: str | None = None) -> tuple[Path | None, bool]:
    """Return a revision's folder in the cache, and whether files that the hub lists are missing. Uses no network."""
    try:
        return _download(repo, revision, variant, local_files_only=True), False
    except IncompleteSnapshotError as error:
        return Path(error.snapshot_path), True
    except (LocalEntryNotFoundError, HFValidationError):
        return None, False


def _download(repo: str, revision: str, variant: str | None, local_files_only: bool) -> Path:
    return Path(
        snapshot_download(
            repo,
            revision=revision,
            local_files_only=local_files_only,
            allow_patterns=patterns(variant),
            ignore_patterns=_NEVER,
        )
    )


def missing_files(folder: Path, variant: str | None = None) -> list[str]:
    """Return the relative paths of required files that a folder lacks: safetensors weights and configurations.

    A folder with a ``model_index.json`` or a ``unet`` is a Stable Diffusion folder, or another pipeline's if the index
    lists no ``unet``; any other holds one network.
    """
    index = _index(folder)
    if variant == OPEN_CLIP:
        needed = [OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS]
    elif index and "unet" not in index:
        needed = [name for part, of in index.items() for name in _of_part(folder, part, *of, variant)]
    elif (folder / "model_index.json").is_file() or (folder / "unet").is_dir():
        needed = ["tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json"]
        is_xl = "text_encoder_2" in index or (folder / "text_encoder_2").is_dir()
        needed += ["tokenizer_2/tokenizer_config.json"] if is_xl else []
        for part, stem in (NETWORKS | SECOND if is_xl else NETWORKS).items():
            needed += [f"{part}/config.json", *(f"{part}/{name}" for name in _weights(folder / part, stem, variant))]
    else:
        needed = _weights(folder, "model", variant)
    return [name for name in needed if not (folder / name).is_file()]


def _index(folder: Path) -> dict[str, tuple[str, str]]:
    """Return the library and class of each part in a ``model_index.json``; empty if there is none."""
    try:
        listed = json.loads((folder / "model_index.json").read_text()).items()
        return {part: (str(of[0]), str(of[1])) for part, of in listed if isinstance(of, list) and of[0] is not None}
    except (ValueError, AttributeError, IndexError, OSError):
        return {}


def _of_part(folder: Path, part: str, library: str, kind: str, variant: str | None) -> list[str]:
    """Return the files that a part of a pipeline needs, by its class."""
    if kind.endswith("Scheduler"):
        return [f"{part}/scheduler_config.json"]
    if "Tokenizer" in kind:
        return [f"{part}/tokenizer_config.json"]
    if kind.endswith("Processor"):
        return []  # the files differ between versions of transformers
    stem = "diffusion_pytorch_model" if library == "diffusers" else "model"
    return [f"{part}/config.json", *(f"{part}/{name}" for name in _weights(folder / part, stem, variant))]


def _weights(folder: Path, stem: str, variant: str | None) -> list[str]:
    """Return the names of a network's weight files: one file, or the shards that its index lists."""
    index = folder / f"{stem}.safetensors.index.json"
    if variant:
        return [f"{stem}.{variant}.safetensors"]
    if not index.is_file():
        return [f"{stem}.safetensors"]
    try:
        return sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return [f"{index.name} (the one there is damaged)"]


def fetch(repo: str, revision: str, variant: str | None = None) -> Path:
    """Download the required files of a revision into the hub's cache. Partial downloads are resumed.

    Returns:
        The snapshot's folder; its name is the commit.

    Raises:
        FetchError: The download failed; the message gives the reason and the remedy.
    """
    page = f"{constants.ENDPOINT}/{repo}"
    try:
        return _download(repo, revision, variant, local_files_only=False)
    except GatedRepoError:
        raise FetchError(f"gated: accept its licence at {page}, then log in (hf auth login, or HF_TOKEN)") from None
    except RepositoryNotFoundError:
        raise FetchError(
            f"no such repository at {page}, or a private one: name a copy (id=<hub id or folder> revision=<commit>), "
            "or log in if it is yours (hf auth login, or HF_TOKEN)"
        ) from None
    except RevisionNotFoundError:
        raise FetchError(f"{page} has no revision {revision}: name one that it has (revision=<commit>)") from None
    except HFValidationError:
        raise FetchError(f"{repo!r} is not a hub id; accepted are owner/name and folders") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        causes = [error, error.__cause__]
        if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes) or constants.HF_HUB_OFFLINE:
            raise FetchError("HF_HUB_OFFLINE is set: unset it, or copy the cache of a machine online") from error
        status = next((c.response.status_code for c in causes if isinstance(c, HfHubHTTPError)), None)
        if status in (401, 403):
            raise FetchError(f"refused ({status}): log in (hf auth login, or HF_TOKEN) and see {page}") from error
        what = f"{constants.ENDPOINT} answers {status}" if status else f"no connection to {constants.ENDPOINT}"
        raise FetchError(f"{what}: try again, what was downloaded is kept; HF_ENDPOINT names a mirror") from error
