"""The contract of data folders: a tree of files, and the domains and counts or the error that come of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sivae_translate.data.folders import find_domains
from sivae_translate.data.split_names import parse
from sivae_translate.utils.errors import DataError


def grow(root: Path, tree: str) -> Path:
    """Empty image files: ``day*3 train/night*2`` is three in the folder day and two in train/night; a name
    with a dot is a single file.
    """
    for word in tree.split():
        folder, _, count = word.partition("*")
        names = [f"{folder}/{index}.png" for index in range(int(count))] if count else [folder]
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
    return root


def found(root: Path, *, for_tests: bool = False) -> tuple[dict[str, int], dict[str, int], tuple[str, ...]]:
    """Training and test images of each domain, and the notes."""
    folders = find_domains(root, for_tests=for_tests)
    counts = [{name: len(files) for name, files in part.items()} for part in (folders.train, folders.test)]
    return counts[0], counts[1], folders.notes


AB = {"A": 3, "B": 4}, {"A": 2, "B": 2}
CASES = {
    # Usual spellings
    "trainA*3 trainB*4 testA*2 testB*2": AB,
    "train_A*3 train_B*4 test_A*2 test_B*2": AB,
    "train-a*3 train-b*4 test-a*2 test-b*2": AB,
    "traina*3 trainb*4 testa*2 testb*2": AB,
    "trainA*3 trainb*4 TestA*2 TESTB*2": AB,
    "TrainA*3 TrainB*4 ValA*2 ValB*2": (*AB, "ValA is used for testing", "ValB is used for testing"),
    "A_train*3 B_train*4 A_test*2 B_test*2": AB,
    "trainingA*3 trainingB*4 testingA*2 testingB*2": AB,
    "A/train*3 A/test*2 B/train*4 B/test*2": AB,
    "A/Train*3 A/Test*2 B/training*4 B/testing*2": AB,
    "train/A*3 train/B*4 test/A*2 test/B*2": AB,
    "Train/A*3 Train/B*4 Test/A*2 Test/B*2": AB,
    "TRAINING/A*3 TRAINING/B*4 testing/a*2 testing/b*2": AB,
    "train_day*3 train_night*4 test_day*2 test_night*2": ({"day": 3, "night": 4}, {"day": 2, "night": 2}),
    "day-train*3 night-train*4 day-val*2 night-val*2": (
        {"day": 3, "night": 4},
        {"day": 2, "night": 2},
        "day-val is used for testing",
        "night-val is used for testing",
    ),
    "train*5 Testing*2": ({"": 5}, {"": 2}),
    "seg_train/cat*3 seg_train/dog*4 seg_test/cat*2 seg_test/dog*2": (
        {"cat": 3, "dog": 4},
        {"cat": 2, "dog": 2},
    ),
    "trainA/x*3 trainB/y*4 testA/x*2 testB/y*2": AB,
    # Validation folders are the test where there is no other
    "train/A*3 train/B*4 val/A*2 val/B*2": (*AB, "val is used for testing"),
    "train/A*3 train/B*4 valid/A*5 valid/B*5 test/A*2 test/B*2": (*AB, "valid is not used"),
    "trainA*3 trainB*4 testA*2 testB*2 valA*3": (*AB, "valA is not used"),
    "A/train*3 A/val*2 B/train*4 B/test*2": (*AB, "A/val is used for testing"),
    # What is missing or not used is said
    "train/A*3 train/B*4 test/A*2": ({"A": 3, "B": 4}, {"A": 2}, "test/B is missing"),
    "train_A*3 train_B*4 test_A*2": ({"A": 3, "B": 4}, {"A": 2}, "test_B is missing"),
    "train_day*3 test_night*4": (
        {"day": 3},
        {"night": 4},
        "test_day is missing",
        "test_night has no training images",
    ),
    "A/train*3 A/test*2 B/train*4": ({"A": 3, "B": 4}, {"A": 2}, "B/test is missing"),
    "train/A*3 train/B*4 test/A*2 test/B*2 test/C*2": (
        AB[0],
        {**AB[1], "C": 2},
        "test/C has no training images",
    ),
    "train/A*3 train/B*4 raw*9 readme.txt 1.png": (
        AB[0],
        {},
        "raw is not used",
        "images beside them (1) are not used",
        "skipped, not images: 1 .txt",
    ),
    # Domains that only sound like splits
    "train*3 tram*4": ({"train": 3, "tram": 4}, {}),
    "trains*3 planes*4": ({"trains": 3, "planes": 4}, {}),
    "train_station*3 harbour*4": ({"train_station": 3, "harbour": 4}, {}),
    "valley*3 hill*4": ({"valley": 3, "hill": 4}, {}),
    "contest*3 latest*4": ({"contest": 3, "latest": 4}, {}),
    "test_tube*3 beaker*4": ({"test_tube": 3, "beaker": 4}, {}),
    "day/train_station*3 night/train_station*4": ({"day": 3, "night": 4}, {}),
    # What archive programs and systems leave
    "A*3 B*4 __MACOSX/A*3 .Trash*9": (AB[0], {}),
    "trainA*3 trainB*4 __MACOSX*2 A.zip": (AB[0], {}, "skipped, not images: 1 .zip"),
    "__MACOSX/train*2 A/train*3 B/train*4 A/.hidden*2": (AB[0], {}),
}


@pytest.mark.parametrize("tree", CASES)
def test_a_tree_gives_domains_and_counts(tree: str, tmp_path: Path) -> None:
    train, test, *notes = CASES[tree]
    assert found(grow(tmp_path, tree)) == (train, test, tuple(notes))


ERRORS = {
    # A misspelt partner
    "trainA*3 tranB*4": r"trainA looks like a split of the data, but tranB beside it does not",
    "trainA*3 trainB*3 tesstA*4": r"tesstA looks like a split .* does not fit trainA, trainB",
    "trainA*3 trianb*3 testA*3 testB*4": r"trianb looks like a split .* does not fit ",
    "train/A*3 train/B*3 tets/A*4": r"tets looks like a split",
    # One split for two folders
    "Train/A*3 training/A*3": r"training looks like a split of the data, but so does Train",
    "train_A*3 traina*3 trainB*3": r"looks like a split of the data, but so does",
    # Splits among domains
    "test*3 day*3 night*3": r"test looks like a split of the data, but day beside it does not",
    "train*3 test*3 day*3": r"looks like a split of the data, but day beside it does not",
    "trainA*3 trainB*3 train*3": r"train looks like a split of the data, but it does not fit",
    "testA*3 photos*3": r"testA looks like a split of the data, but photos beside it does not",
    "A/train*3 A/test*3 B*3": r"A/\w+ looks like a split of the data, but B has images outside its splits",
    "A/train*3 A/1.png B/train*3": r"A/train looks like a split of the data, but A has images outside",
    "A/train*3 A/trian*3 B/train*3": r"A/trian looks like a split",
    "train/train*3 train/day*3": r"train/train looks like a split of the data, but it is inside train",
    "A/photos/train*3 A/photos/test*3 B/photos/train*3": r"A/photos/\w+ looks like a split .* it is inside A",
    "day/train_day*3 day/test_day*3 night*3": r"day/test_day looks like a split .* it is inside day",
    "trainA/B-test*3 trainB*3": r"B-test looks like a split of the data, but it is inside trainA",
    "train/A/valid*3 train/A*3 train/B*3": r"A/valid looks like a split of the data, but it is inside A",
    "set_train/set_train/A*3 set_train/set_train/B*3 set_test/set_test/A*3": r"it is inside set_train",
    # One folder too high
    "horse2zebra/trainA*3 horse2zebra/trainB*3 __MACOSX/x*2": r"horse2zebra contains trainA: .* folder below",
    "set/train/A*3 set/train/B*3 set/test/A*3": r"set contains train: the data is one folder below",
    # Only tests
    "test/A*3 test/B*3": r"no training image in .*: it has test images only",
    "testA*3 testB*3": r"no training image in .*: it has test images only",
}


@pytest.mark.parametrize("tree", ERRORS)
def test_a_tree_that_is_not_understood_is_an_error(tree: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=ERRORS[tree]) as caught:
        find_domains(grow(tmp_path, tree))
    assert str(tmp_path) in caught.value.what
    assert caught.value.remedy


EVALUATED = {
    "day*3 night*4": ({}, {"day": 3, "night": 4}),
    "test_day*3 test_night*4": ({}, {"day": 3, "night": 4}),
    "test/day*3 test/night*4": ({}, {"day": 3, "night": 4}),
    "testA*3 testB*4": ({}, {"A": 3, "B": 4}),
    "train/day*3 test/day*2": ({"day": 3}, {"day": 2}),
}


@pytest.mark.parametrize("tree", EVALUATED)
def test_for_an_evaluation_a_folder_without_splits_is_all_test(tree: str, tmp_path: Path) -> None:
    assert found(grow(tmp_path, tree), for_tests=True) == (*EVALUATED[tree], ())


def test_the_name_of_a_split_is_no_part_of_another_word() -> None:
    for name in ("trains", "trainer", "testbed", "valley", "vale", "latest", "constraint", "train-", "_test"):
        assert parse(name) is None, name


WORDS = (
    *(
        "A",
        "B",
        "day",
        "night",
        "images",
        "train",
        "test",
        "val",
        "Train",
        "testing",
        "trainA",
        "testB",
        "traina",
    ),
    *("valA", "A_train", "B-test", "train_day", "test_day", "train_night", "tets", "trianA", "__MACOSX"),
)


def test_no_tree_puts_a_test_image_into_training_or_drops_one_silently(tmp_path: Path) -> None:
    """200 random trees: an error, or every image is in one place that its folders' names allow."""
    rng, understood = random.Random(0), 0
    for number in range(200):
        depths = [rng.choice((1, 1, 2, 2, 3)) for _ in range(rng.randint(2, 4))]
        folders = {"/".join(rng.choices(WORDS, k=depth)) for depth in depths}
        root = grow(tmp_path / str(number), " ".join(f"{folder}*2" for folder in folders))
        try:
            layout = find_domains(root)
        except DataError:
            continue
        understood += 1
        train, test = (
            [path for files in part.values() for path in files.values()]
            for part in (layout.train, layout.test)
        )
        assert len({*train, *test}) == len(train) + len(test)
        visible = {path for path in root.rglob("*.png") if "__MACOSX" not in path.parts}
        assert visible == {*train, *test} or layout.notes, folders
        for path in train:
            splits = [split for part in path.relative_to(root).parts if (split := parse(part))]
            assert not any(split.part != "train" and len(split.label) < 2 for split in splits), folders
    assert understood > 10
