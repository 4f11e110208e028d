"""Convert the published .pth files of Grounding DINO and SAM, which are pickles, to folders of safetensors.

``segmenter=grounded_sam_original`` loads these folders; ``python -m scripts.convert`` writes them.
"""

import ast
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, BertConfig

from instructedit.segmenter.original import CONFIG, TEXT_ENCODER, WEIGHTS, load_grounding_dino, load_sam
from instructedit.types import ConfigError


def convert_grounding_dino(weights: Path, settings: Path, text_encoder: str, folder: Path) -> None:
    """Write the folder that :class:`OriginalGroundingDino` loads, and load it once as a check.

    Args:
        weights: The published .pth file.
        settings: The matching Python file of settings; it is parsed but not executed.
        text_encoder: Folder or hub id of BERT, for its configuration and tokenizer.
        folder: Folder to write.

    Raises:
        ConfigError: A file cannot be read or does not match; the message names it.
    """
    state = _read(weights)
    if not isinstance(state.get("model"), Mapping):
        raise ConfigError(f"{weights} has no weights under 'model', unlike Grounding DINO's files")
    try:
        # The file holds plain assignments; parsing them avoids running downloaded code.
        values = {
            ast.unparse(line.targets[0]): ast.literal_eval(line.value)
            for line in ast.parse(settings.read_text()).body
            if isinstance(line, ast.Assign)
        }
        BertConfig.from_pretrained(text_encoder).save_pretrained(folder / TEXT_ENCODER)
        AutoTokenizer.from_pretrained(text_encoder).save_pretrained(folder / TEXT_ENCODER)
    except (OSError, ValueError, SyntaxError) as error:
        raise ConfigError(f"{settings} or {text_encoder} cannot be read: {str(error).splitlines()[0]}") from error
    _write(folder, values, {name.removeprefix("module."): value for name, value in state["model"].items()})
    load_grounding_dino(folder)


def convert_sam(weights: Path, model_type: str, folder: Path) -> None:
    """Write the folder that :class:`OriginalSam` loads, and load it once as a check.

    Args:
        weights: The published .pth file.
        model_type: Key of the package's model registry, such as ``vit_h``.
        folder: Folder to write.

    Raises:
        ConfigError: A file cannot be read or does not match; the message names it.
    """
    _write(folder, {"model_type": model_type}, _read(weights))
    load_sam(folder)


def _read(weights: Path) -> Mapping[str, Any]:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ConfigError(f"{weights} is not a file of plain weights: {str(error).splitlines()[0]}") from error
    if not isinstance(state, Mapping):
        raise ConfigError(f"{weights} is not a file of plain weights: it holds a {type(state).__name__}")
    return state


def _write(folder: Path, settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(settings, indent=2) + "\n")
    # safetensors refuses tensors that share memory, such as heads shared by layers, so they are copied.
    save_file({name: value.clone().contiguous() for name, value in state.items()}, folder / WEIGHTS)
