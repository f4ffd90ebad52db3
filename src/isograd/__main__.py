"""``python -m isograd``: the command line."""

import sys

from isograd.cli import main

if __name__ == "__main__":
    sys.exit(main())
