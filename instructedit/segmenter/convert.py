"""Turn the published .pth files of Grounding DINO and SAM, which are pickles, into folders of safetensors.

    python -m instructedit.segmenter.convert grounding_dino groundingdino_swint_ogc.pth FOLDER --text_encoder BERT
    python -m instructedit.segmenter.convert sam sam_vit_h_4b8939.pth FOLDER --model_type vit_h

BERT is a local folder (or hub id) of bert-base-uncased; only its configuration and tokenizer are taken, for its
weights are in Grounding DINO's. The folders serve ``segmenter=grounded_sam_original``.
"""

import argparse
import ast
import json
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from torch import Tensor
from transformers import AutoTokenizer, BertConfig

from instructedit.segmenter.original import CONFIG, SETTINGS, TEXT_ENCODER, WEIGHTS, load_grounding_dino, load_sam
from instructedit.types import ConfigError


def convert_grounding_dino(weights: Path, settings: Path, text_encoder: str, folder: Path) -> None:
    """Make the folder that :class:`OriginalGroundingDino` loads, and load it once.

    Args:
        weights: The published .pth file.
        settings: The Python file of settings that belongs to it; read, never run.
        text_encoder: Folder or hub id of BERT, for its configuration and tokenizer.
        folder: Where to write.

    Raises:
        ConfigError: names the file that cannot be read or does not fit.
    """
    state = _read(weights)
    if not isinstance(state.get("model"), Mapping):
        raise ConfigError(f"{weights} holds no weights under 'model', as Grounding DINO's do")
    try:
        # A module of plain assignments; taking them apart runs no stranger's code.
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
    """Make the folder that :class:`OriginalSam` loads, and load it once.

    Args:
        weights: The published .pth file.
        model_type: Its entry in the package's registry, such as ``vit_h``.
        folder: Where to write.

    Raises:
        ConfigError: names the file that cannot be read or does not fit.
    """
    _write(folder, {"model_type": model_type}, _read(weights))
    load_sam(folder)


def _read(weights: Path) -> Mapping[str, Any]:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ConfigError(f"{weights} is no file of plain weights: {str(error).splitlines()[0]}") from error
    if not isinstance(state, Mapping):
        raise ConfigError(f"{weights} is no file of plain weights: it holds a {type(state).__name__}")
    return state


def _write(folder: Path, settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(settings, indent=2) + "\n")
    # Copies, because heads that layers share are stored under each layer's name, which safetensors refuses.
    save_file({name: value.clone().contiguous() for name, value in state.items()}, folder / WEIGHTS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one file; 2 where the request was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    for what in ("grounding_dino", "sam"):
        command = commands.add_parser(what)
        command.add_argument("weights", type=Path)
        command.add_argument("folder", type=Path)
        if what == "sam":
            command.add_argument("--model_type", choices=list(sam_model_registry), default="vit_h")
        else:
            command.add_argument("--settings", type=Path, default=SETTINGS / "GroundingDINO_SwinT_OGC.py")
            command.add_argument("--text_encoder", required=True)
    given = parser.parse_args(arguments)
    try:
        if given.what == "sam":
            convert_sam(given.weights, given.model_type, given.folder)
        else:
            convert_grounding_dino(given.weights, given.settings, given.text_encoder, given.folder)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
