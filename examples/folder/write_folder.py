"""Write 2,000 training and 500 test pictures of digits into class folders, from the four IDX files of MNIST.

    ISOGRAD_DATA=/path/to/data python examples/folder/write_folder.py [FOLDER]

Makes pictures/train/0/*.png to pictures/test/9/*.png beside this file, or in the folder that is named.
"""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = {"train": ("train", 200), "test": ("t10k", 50)}


def main(folder: Path, share: float = 1.0) -> None:
    source = Path(os.environ["ISOGRAD_DATA"]) / "mnist-5k"
    rng = np.random.default_rng(0)
    for part, (name, each) in PARTS.items():
        pixels, labels = (
            np.frombuffer(gzip.decompress((source / f"{name}-{what}-ubyte.gz").read_bytes())[head:], np.uint8)
            for what, head in (("images-idx3", 16), ("labels-idx1", 8))
        )
        for digit in range(10):
            place = folder / "pictures" / part / str(digit)
            place.mkdir(parents=True, exist_ok=True)
            for row in sorted(rng.permutation(np.flatnonzero(labels == digit))[: round(share * each)].tolist()):
                Image.fromarray(pixels.reshape(-1, 28, 28)[row]).save(place / f"{row:05}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
