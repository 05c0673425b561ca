r"""Printable names: files and domains may have any name that a file system allows.

Python represents bytes that are not UTF-8 as lone surrogates, which files, terminals and fonts do not accept,
and control characters may break lines or control a terminal. Both are shown as escapes, such as ``\xe9``.
"""

from __future__ import annotations

import html
import re
import unicodedata

HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories of control characters, surrogates, and line and paragraph separators."""
_MARKDOWN = re.compile(r"[\\`*\[\]|$]|~(?=~)|<(?=[\w/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
"""Characters that mean something to a reader of Markdown where they stand; ``|`` also ends a cell, and ``$``
begins a formula on many sites. An underscore within a word means nothing."""


def printable(text: str, keep: str = "") -> str:
    r"""Replace characters that cannot be shown or written by escapes.

    Args:
        text: any text.
        keep: control characters to keep, such as newlines.

    >>> print(printable("caf\udce9\n"), printable("a\nb", keep="\n"))
    caf\xe9\x0a a
    b
    """
    if text.isprintable():
        return text
    return "".join(
        one if one in keep or unicodedata.category(one) not in HIDDEN else _escaped(one) for one in text
    )


def is_utf8(name: str) -> bool:
    """Whether a name can be written in UTF-8, i.e. has no lone surrogates."""
    return not any(unicodedata.category(one) == "Cs" for one in name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's representation of a byte
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def markdown_text(text: str) -> str:
    r"""Escape a text for Markdown, on one line, also in table cells.

    >>> print(markdown_text("a|b <i> *c* train_a _d"))
    a\|b \<i> \*c\* train_a \_d
    """
    return _MARKDOWN.sub(lambda match: f"\\{match[0]}", printable(text))


def html_text(text: str) -> str:
    """Escape a text for HTML, keeping its lines."""
    return html.escape(printable(text, keep="\n\t"))
