"""The examples run, and say what they promise."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def find_the_fault():
    spec = importlib.util.spec_from_file_location("find_the_fault", ROOT / "examples" / "find_the_fault.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no-clearing", "optimizer.zero_grad() in every step"),
        ("softmax-twice", "without softmax"),
        ("python-list", "nn.ModuleList"),
    ],
)
def test_each_mistake_of_the_example_is_found_with_the_line_to_write(find_the_fault, fault, words, capsys):
    assert find_the_fault.main(fault) is False
    printed = " ".join(capsys.readouterr().out.split())
    assert "noticed at step" in printed and words in printed


def test_the_sound_training_of_the_example_is_healthy(find_the_fault, capsys):
    assert find_the_fault.main("sound") is True
    assert "Healthy" in capsys.readouterr().out
