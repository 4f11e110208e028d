"""Judge the edits of picturebook's models on held-out scenes, and write the scores to their cards.

python -m scripts.judge                      # all of them
python -m scripts.judge diffusion            # one
python -m scripts.judge --check              # the judge itself, on drawn references and unedited pictures
python -m scripts.judge language             # the language model, on the phrasings written by hand
python -m scripts.judge language --model FOLDER
python -m scripts.judge detector             # what each box threshold keeps, on held-out scenes
"""

import argparse
import sys
from pathlib import Path

from data.picturebook import detections, phrasings
from data.picturebook.judge import COUNT, MODELS, SCORES, check, shipped, update_card
from instructedit.language.build import local
from instructedit.language.parse import Parsed
from instructedit.models import Checkpoint, Context
from instructedit.segmenter.grounded_sam import GroundingDino
from scripts.app import OK

_LANGUAGE, _DETECTOR = "language", "detector"


def main() -> int:
    """Judge the edits, print the scores, and write the cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="model folders to judge, `language` or `detector`; default: all")
    parser.add_argument("--check", action="store_true", help="judge drawn references and unedited pictures instead")
    parser.add_argument("--model", type=Path, default=MODELS / "language_model", help="the language model's folder")
    args = parser.parse_args()
    if args.check:
        for name, share in check().items():
            print(f"{name}: {share:.1%}")
        return OK
    every = (*SCORES, _LANGUAGE, _DETECTOR)
    if unknown := sorted({*args.models} - {*every}):
        parser.error(f"{', '.join(unknown)}: accepted are {', '.join(every)}")
    context = Context.create(Path("results/cache"))
    for name in args.models or every:
        if name == _LANGUAGE:
            _judge_language(context, args.model)
            continue
        if name == _DETECTOR:
            for row in detections.kept(GroundingDino(context, shipped("grounding_dino"))):
                print(f"detector: box_threshold={row.threshold}: IoU {row.iou:.3f}, no box {row.without_box:.1%}")
            continue
        scores = SCORES[name](context, shipped(name))
        update_card(MODELS / name / "unet", scores)
        for score, share in scores.items():
            print(f"{name}: {score} {share:.1%} of {COUNT}")
    return OK


def _judge_language(context: Context, folder: Path) -> None:
    language = local(context, Checkpoint(str(folder)), max_new_tokens=96)
    graded = phrasings.graded(language)
    for phrasing, answer, grade in graded:
        if grade != "right":
            print(f"{grade}: {phrasing.instruction} -> {answer.reply if isinstance(answer, Parsed) else answer}")
    for score, share in phrasings.shares([grade for _, _, grade in graded]).items():
        print(f"{_LANGUAGE}: {score} {share:.1%} of {len(graded)}")
    unread = phrasings.graded(language, phrasings.UNREAD)
    for score, share in phrasings.shares([grade for _, _, grade in unread]).items():
        print(f"{_LANGUAGE}: {score} {share:.1%} of the {len(unread)} unread")


if __name__ == "__main__":
    sys.exit(main())
