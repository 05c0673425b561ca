"""What a folder's name says about the split it holds: ``train``, ``Testing``, ``val_A``, ``B-train``."""

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
# Without a separator only one letter or digit is a label, and "trains" and "vale" are no splits
_LETTER = re.compile(r"((?i:train|training|test|testing))((?![sS])[A-Za-z0-9])|((?i:val))([A-Z0-9])")
_ALIKE = 0.75
"""How alike, by `difflib`, a misspelt name is to what it stands for."""


@dataclass(frozen=True)
class SplitName:
    """A folder's name, understood.

    Attributes:
        part: the split.
        label: the domain, single letters in upper case; empty where the name is the split's alone.
    """

    part: Part
    label: str = ""

    @property
    def is_letter(self) -> bool:
        """Whether the label can hardly be part of another word: ``trainA``, not ``train_station``."""
        return len(self.label) == 1


def parse(name: str) -> SplitName | None:
    """What a folder's name says about splits; None where it says nothing.

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
    """Whether a name is almost one of those that were understood or their partners, or almost a split's."""
    names = [one.lower() for one in known]
    names += [partner(one) for one in names] + [partner(one, "test", "train") for one in names]
    names += [word for word in _WORDS if len(word) > 3]
    swapped = sorted(name.lower()) in map(sorted, names)
    return swapped or bool(get_close_matches(name.lower(), names, 1, _ALIKE))


def partner(name: str, part: str = "train", other: str = "test") -> str:
    """What the folder of the other split beside one of this name is called: ``trainB`` to ``testB``."""
    return re.sub(f"{part}(ing)?", other, name, count=1, flags=re.IGNORECASE)
