"""Draw picturebook's benchmarks, which are byte-for-byte reproducible, or its atlas of sprites.

python -m scripts.draw benchmarks
python -m scripts.draw benchmarks --into FOLDER
python -m scripts.draw clips                 # the benchmark of clips
python -m scripts.draw scenes                # the benchmark of scenes
python -m scripts.draw atlas                 # needs Debian's fonts-noto-color-emoji
"""

import argparse
import sys
from pathlib import Path

from data.picturebook import benchmark, cards_benchmark, clips_benchmark, draw_atlas
from data.picturebook.cards import SCENES
from data.picturebook.clips import FILMS
from scripts.app import OK


def main() -> int:
    """Draw the benchmarks or the atlas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("atlas")
    folders = commands.add_parser("benchmarks")
    folders.add_argument("--into", type=Path, default=benchmark.FOLDER, help="parent of the benchmark folders")
    clips = commands.add_parser("clips")
    clips.add_argument("--into", type=Path, default=clips_benchmark.FOLDER, help="the benchmark's folder")
    scenes = commands.add_parser("scenes")
    scenes.add_argument("--into", type=Path, default=cards_benchmark.FOLDER, help="the benchmark's folder")
    args = parser.parse_args()
    if args.what == "atlas":
        draw_atlas.draw()
        return OK
    if args.what == "clips":
        clips_benchmark.write(FILMS, args.into)
        print(f"{args.into}: {len(FILMS)} clips")
        return OK
    if args.what == "scenes":
        cards_benchmark.write(SCENES, args.into)
        print(f"{args.into}: {len(SCENES)} scenes")
        return OK
    for name in benchmark.BENCHMARKS:
        samples = benchmark.draw(name)
        benchmark.write(name, samples, args.into / name)
        print(f"{args.into / name}: {len(samples)} samples")
    return OK


if __name__ == "__main__":
    sys.exit(main())
