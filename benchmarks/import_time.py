"""How long `import isograd` takes beyond its dependencies, and `isograd --version` as a whole process."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from common import machine, median_interval, table, write

CASES = {
    "python alone": ["-c", "pass"],
    "numpy, scipy, pydantic": ["-c", "import numpy, scipy, pydantic"],
    "those and isograd": ["-c", "import numpy, scipy, pydantic, isograd"],
    "those and isograd's three functions": ["-c", "import numpy, scipy, pydantic, isograd; isograd.check, isograd.watch"],
    "isograd --version": ["-m", "isograd", "--version"],
}


def seconds(arguments: list[str], bytecode: str) -> float:
    """Wall seconds of one fresh interpreter that finds compiled code, as after an installation."""
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, env=settings | {"PYTHONPYCACHEPREFIX": bytecode}
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as bytecode:
        for arguments in CASES.values():
            seconds(arguments, bytecode)  # the first one compiles, and fills the disk cache
        for _ in range(rounds):
            for name, arguments in CASES.items():
                times[name].append(seconds(arguments, bytecode))
    over = [b - a for a, b in zip(times["numpy, scipy, pydantic"], times["those and isograd's three functions"], strict=True)]
    rows = [(name, *(f"{value:.3f}" for value in median_interval(values))) for name, values in times.items()]
    rows.append(("isograd over its dependencies", *(f"{value:.3f}" for value in median_interval(over))))
    print(table(rows, ("seconds", "median", "low", "high")))
    goals = {"over dependencies < 0.3 s": statistics.median(over) < 0.3}
    goals["--version < 0.5 s"] = statistics.median(times["isograd --version"]) < 0.5
    print(goals)
    write("import_time", {"machine": machine(), "rounds": rounds, "seconds": times, "over_dependencies": over, "goals": goals})


if __name__ == "__main__":
    main()
