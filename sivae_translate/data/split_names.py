"""Folder names that denote a split: ``train``, ``Testing``, ``val_A``, ``B-train``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Part = Literal["train", "test", "val"]

_WORDS: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "tests"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
}
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_ALONE = re.compile(f"({_WORD})", re.IGNORECASE)
_BEFORE = re.compile(rf"({_WORD})[ _.-]+(.*[^ _.-])", re.IGNORECASE)
_AFTER = re.compile(rf"([^ _.-].*?)[ _.-]+({_WORD})", re.IGNORECASE)
# Without a separator a label is a single letter or digit, but "trains" and "vale" are not splits
_LETTER = re.compile(r"((?i:train|training|test|testing))((?![sS])[A-Za-z0-9])|((?i:val))([A-Z0-9])")
_ALIKE = 0.75
"""Similarity, by `difflib`, from which a name counts as a misspelling."""


@dataclass(frozen=True)
class SplitName:
    """A parsed folder name.

    Attributes:
        part: the split.
        label: the domain, single letters in upper case; empty if the name is just that of a split.
    """

    part: Part
    label: str = ""

    @property
    def is_letter(self) -> bool:
        """Whether the label is a single character, as in ``trainA`` but not ``train_station``."""
        return len(self.label) == 1


def parse(name: str) -> SplitName | None:
    """Parse a folder name; None if it does not denote a split.

    >>> parse("Training"), parse("test-a")
    (SplitName(part='train', label=''), SplitName(part='test', label='A'))
    >>> parse("night_val")
    SplitName(part='val', label='night')
    >>> parse("trains") or parse("valley")
    """
    if match := _ALONE.fullmatch(name):
        return SplitName(_WORDS[match[1].lower()])
    if match := _LETTER.fullmatch(name):
        word, letter = match[1] or match[3], match[2] or match[4]
        return SplitName(_WORDS[word.lower()], letter.upper())
    if match := _BEFORE.fullmatch(name):
        return SplitName(_WORDS[match[1].lower()], _label(match[2]))
    if match := _AFTER.fullmatch(name):
        return SplitName(_WORDS[match[2].lower()], _label(match[1]))
    return None


def _label(text: str) -> str:
    return text.upper() if len(text) == 1 else text


def looks_misspelt(name: str, known: Iterable[str]) -> bool:
    """Whether a name is almost that of a split, of one of the known folders, or of a partner of one."""
    names = [one.lower() for one in known]
    names += [partner(one) for one in names] + [partner(one, "test", "train") for one in names]
    names += [word for word in _WORDS if len(word) > 3]
    swapped = sorted(name.lower()) in map(sorted, names)
    return swapped or bool(get_close_matches(name.lower(), names, 1, _ALIKE))


def partner(name: str, part: str = "train", other: str = "test") -> str:
    """The name of the matching folder of the other split: ``trainB`` to ``testB``."""
    return re.sub(f"{part}(ing)?", other, name, count=1, flags=re.IGNORECASE)
