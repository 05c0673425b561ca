r"""Names from outside as text: a file or a domain may be called anything that a file system allows.

Bytes that are no UTF-8 stand in Python's names as lone surrogates, which no file, terminal or font takes, and
control characters may end a line or command a terminal. Both are shown as escapes, such as ``\xe9``.
"""

from __future__ import annotations

import html
import re
import unicodedata

HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, surrogates, and ends of lines and paragraphs."""
_MARKDOWN = re.compile(r"[\\`*\[\]|$]|~(?=~)|<(?=[\w/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
"""Characters that mean something to a reader of Markdown where they stand; ``|`` also ends a cell, and ``$``
begins a formula on many sites. An underscore within a word means nothing."""


def printable(text: str, keep: str = "") -> str:
    r"""A text in which everything can be seen and written.

    Args:
        text: any.
        keep: control characters that stay, such as newlines.

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
    """Whether a name can be written in UTF-8: not where a lone surrogate stands for a byte."""
    return not any(unicodedata.category(one) == "Cs" for one in name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def markdown_text(text: str) -> str:
    r"""A text that Markdown shows as it is, on one line, also in a cell of a table.

    >>> print(markdown_text("a|b <i> *c* train_a _d"))
    a\|b \<i> \*c\* train_a \_d
    """
    return _MARKDOWN.sub(lambda match: f"\\{match[0]}", printable(text))


def html_text(text: str) -> str:
    """A text that a browser shows as it is, its lines too where they are shown as lines."""
    return html.escape(printable(text, keep="\n\t"))
