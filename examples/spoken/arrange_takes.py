"""Split the Free Spoken Digit Dataset in two ways, as folders with a train and a test part.

    ISOGRAD_DATA=/path/to/data python examples/spoken/arrange_takes.py [FOLDER]

``takes`` keeps takes 0 to 4 of each speaker and digit for testing; ``no-george`` and its five siblings keep all of one speaker.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def main(folder: Path, every: int = 1) -> None:
    recordings = sorted((Path(os.environ["ISOGRAD_DATA"]) / "fsdd" / "recordings").glob("*.flac"))
    names = [path.stem.split("_") for path in recordings]
    ways = {"takes": [int(take) < 5 for _, _, take in names]}
    ways |= {f"no-{speaker}": [said == speaker for _, said, _ in names] for speaker in sorted({name[1] for name in names})}
    for way, held_out in ways.items():
        for part in ("train", "test"):
            (folder / way / part).mkdir(parents=True, exist_ok=True)
        for path, tested in list(zip(recordings, held_out, strict=True))[::every]:
            shutil.copyfile(path, folder / way / ("test" if tested else "train") / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
