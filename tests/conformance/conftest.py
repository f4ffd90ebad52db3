"""Every test here runs over every door, and most over every case."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from conformance_doors import CASES, DOORS


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


@pytest.fixture(params=DOORS)
def door(request):
    return DOORS[request.param]
