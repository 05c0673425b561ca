"""Which images are trained on: by position, by name, and in words."""

from __future__ import annotations

import numpy as np
import pytest

from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.splits import NamedSplit, Split, split_training, summary


def images(count: int) -> ArrayImages:
    return ArrayImages(np.zeros((count, 8, 8, 1), np.uint8))


@pytest.mark.parametrize(
    ("names", "train", "validation"),
    [
        ("abcde", "cab", "ed"),
        ("edcba", "cab", "ed"),
        ("xabcdye", "cabxy", "ed"),
        ("bd", "b", "d"),
        ("abc", "cab", ""),
    ],
)
def test_a_named_split_finds_its_images_wherever_they_are(names: str, train: str, validation: str) -> None:
    found = NamedSplit(tuple("cab"), tuple("ed")).find(names)
    assert "".join(names[index] for index in found.train) == train
    assert "".join(names[index] for index in found.validation) == validation


def test_a_split_by_names_is_the_split_of_unchanged_data() -> None:
    split = split_training([images(40)], 0.2)[0]
    names = [f"{index}.png" for index in range(40)]
    found = NamedSplit.of(split, names).find(names)
    assert np.array_equal(found.train, split.train)
    assert np.array_equal(found.validation, split.validation)


def described(domains: int, tests: int = 0, **changes: tuple[str, ...]) -> str:
    data = DomainData(
        tuple(f"d{index}" for index in range(domains)),
        train=(images(5),) * domains,
        test=(images(2),) * tests,
        **changes,
    )
    return summary(data, [Split(np.arange(4), np.arange(1))] * domains)


def test_a_line_describes_the_data() -> None:
    assert described(2, 2) == "d0: 4 training, 1 validation, 2 test; d1: 4 training, 1 validation, 2 test"
    assert described(1, notes=("raw is not used",)).endswith("0 test; raw is not used")
    many = described(9, 3, new_domains=("e", "f", "g"))
    assert "d5: 4 training" in many
    assert "d6" not in many
    assert many.endswith(
        "and 3 more domains; all 9: 36 training, 9 validation, 0 test; 3 new domains: 6 test"
    )
    unlabelled = DomainData(("",), train=(images(5),))
    assert (
        summary(unlabelled, [Split(np.arange(5), np.arange(0))]) == "images: 5 training, 0 validation, 0 test"
    )
