"""Drawn data for the tests of trainings."""

from __future__ import annotations

import pytest
import toys

from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """30 training images of 3 classes; objects and tags have masks."""
    return open_dataset(str(toys.draw(tmp_path_factory.mktemp("tagged"), toys.Toy(train=10, tag=True))))


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 training images of 3 classes, enough to tell a collapse."""
    return open_dataset(str(toys.draw(tmp_path_factory.mktemp("many"), toys.Toy(train=20, test=4))))
