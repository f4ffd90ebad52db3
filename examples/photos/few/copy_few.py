"""Copy every second photo of four kinds of things, 2,000 in all, and those to judge by, into class folders.

    ISOGRAD_DATA=/path/to/data python examples/photos/few/copy_few.py [FOLDER]

Makes photos/train/frog/*.jpg and its siblings beside this file, or in the folder that is named.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

KINDS = ("automobile", "deer", "frog", "ship")
EVERY = 2


def main(folder: Path, every: int = EVERY) -> None:
    for part, step in (("train", every), ("test", max(1, every // EVERY))):
        for kind in KINDS:
            to = folder / "photos" / part / kind
            to.mkdir(parents=True, exist_ok=True)
            for photo in sorted((Path(os.environ["ISOGRAD_DATA"]) / "cifar10-subset" / part / kind).iterdir())[::step]:
                shutil.copyfile(photo, to / photo.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
