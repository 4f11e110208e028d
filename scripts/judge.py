"""Judge the edits of picturebook's models on held-out scenes, and write the scores to their cards.

python -m scripts.judge                      # all of them
python -m scripts.judge diffusion            # one
python -m scripts.judge --check              # the judge itself, on drawn references and unedited pictures
"""

import argparse
import sys
from pathlib import Path

from data.picturebook.judge import COUNT, MODELS, SCORES, check, update_card
from instructedit.models import Checkpoint, Context
from scripts.app import OK


def main() -> int:
    """Judge the edits, print the scores, and write the cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="model folders to judge; default: all")
    parser.add_argument("--check", action="store_true", help="judge drawn references and unedited pictures instead")
    args = parser.parse_args()
    if args.check:
        for name, share in check().items():
            print(f"{name}: {share:.1%}")
        return OK
    if unknown := sorted(set(args.models) - set(SCORES)):
        parser.error(f"{', '.join(unknown)}: accepted are {', '.join(SCORES)}")
    context = Context.create(Path("results/cache"))
    for name in args.models or SCORES:
        scores = SCORES[name](context, Checkpoint(str(MODELS / name)))
        update_card(MODELS / name / "unet", scores)
        for score, share in scores.items():
            print(f"{name}: {score} {share:.1%} of {COUNT}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
