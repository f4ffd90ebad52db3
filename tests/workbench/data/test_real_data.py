import os
from pathlib import Path

import pytest

from isograd.workbench.data import SplitPlan, prepare, read_for_prediction

DATA = Path(os.environ.get("ISOGRAD_DATA", "/nowhere"))


def needs(name: str) -> pytest.MarkDecorator:
    absent = not (DATA / name).exists() and "ISOGRAD_REQUIRE_DATA" not in os.environ
    return pytest.mark.skipif(absent, reason=f"no {name}: name the folder that holds it with ISOGRAD_DATA")


@needs("mnist-5k")
def test_the_published_mnist_files_give_5000_and_10000_digits() -> None:
    how = {"task": "image-classification", "target": None, "split": SplitPlan("given", 0.1), "seed": 0}
    found = prepare("$ISOGRAD_DATA/mnist-5k", base=Path(), **how)  # type: ignore[arg-type]
    assert [part.rows for part in found.summary.parts] == [4500, 500, 10_000]
    assert found.summary.parts[2].per_class == (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    assert tuple(found.train.inputs.shape[1:]) == (1, 28, 28) and found.encoding.classes == tuple("0123456789")


@needs("cifar10-subset")
def test_cifar_as_folders_of_photos_is_read_in_its_parts() -> None:
    how = {"task": "image-classification", "target": None, "split": SplitPlan("given", 0.1), "seed": 0}
    found = prepare("cifar10-subset", base=DATA, **how)  # type: ignore[arg-type]
    assert [part.rows for part in found.summary.parts] == [9000, 1000, 2000]
    assert tuple(found.train.inputs.shape[1:]) == (3, 32, 32) and found.encoding.classes[0] == "airplane"
    inputs, _, _ = read_for_prediction(DATA / "cifar10-subset" / "test" / "airplane", found.encoding)
    assert (found.test.inputs[:200].numpy() == inputs).all()


@needs("adult.csv")
def test_the_census_is_read_as_numbers_and_categories() -> None:
    plan = SplitPlan("stratified", 0.1, 0.2)
    found = prepare("adult.csv", base=DATA, task="classification", target="income", split=plan, seed=0)
    kinds = [column.kind for column in found.summary.schema.columns]
    assert (kinds.count("number"), kinds.count("category")) == (6, 8)
    assert found.summary.schema.rows == 30_162 and found.encoding.classes == ("<=50K", ">50K")
    assert found.summary.skipped == ()
