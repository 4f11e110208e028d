"""Convert published weights, which are pickles, to safetensors.

python -m scripts.convert grounding_dino groundingdino_swint_ogc.pth FOLDER --text_encoder BERT
python -m scripts.convert sam sam_vit_h_4b8939.pth FOLDER --model_type vit_h
python -m scripts.convert brisque_piq brisque_svm_weights.pt FOLDER
python -m scripts.convert brisque_package FOLDER

BERT is a local folder or hub id of bert-base-uncased. Only its configuration and tokenizer are used, because its
weights are part of Grounding DINO's. ``brisque_package`` reads the installed ``brisque`` distribution.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from segment_anything import sam_model_registry

from eval.metrics import brisque_weights
from instructedit.segmenter.convert import convert_grounding_dino, convert_sam
from instructedit.segmenter.original import SETTINGS
from instructedit.types import ConfigError
from scripts.app import OK, WRONG_REQUEST


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one file; the exit code is 2 if a file cannot be converted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    for what in ("grounding_dino", "sam", "brisque_piq", "brisque_package"):
        command = commands.add_parser(what)
        if what != "brisque_package":
            command.add_argument("weights", type=Path)
        command.add_argument("folder", type=Path)
        if what == "sam":
            command.add_argument("--model_type", choices=list(sam_model_registry), default="vit_h")
        elif what == "grounding_dino":
            command.add_argument("--settings", type=Path, default=SETTINGS / "GroundingDINO_SwinT_OGC.py")
            command.add_argument("--text_encoder", required=True)
    args = parser.parse_args(arguments)
    try:
        match args.what:
            case "sam":
                convert_sam(args.weights, args.model_type, args.folder)
            case "grounding_dino":
                convert_grounding_dino(args.weights, args.settings, args.text_encoder, args.folder)
            case "brisque_piq":
                brisque_weights.write(*brisque_weights.from_piq(args.weights), args.folder)
            case "brisque_package":
                brisque_weights.write(*brisque_weights.from_package(), args.folder)
                shutil.copyfile(brisque_weights.package_licence(), args.folder / "LICENSE")
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_REQUEST
    return OK


if __name__ == "__main__":
    sys.exit(main())
