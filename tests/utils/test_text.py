"""Names from outside are shown as they are, wherever they are written."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from sivae_translate.utils import pictures, progress
from sivae_translate.utils.files import write_json
from sivae_translate.utils.tables import markdown_table, terminal_table
from sivae_translate.utils.text import html_text, markdown_text, printable

NAMES = [
    "a$b",
    r"$\frac{",
    "$_$",
    "caf\udce9",
    "a\nb",
    "\x1b[2J",
    "[red]x[/nothing]",
    "a|b",
    "漢",
    "<script>",
]


def test_control_characters_and_stray_bytes_become_escapes() -> None:
    assert printable("caf\udce9 \x1b[2J\n\x85\u2028\ud800") == r"caf\xe9 \x1b[2J\x0a\x85\u2028\ud800"
    assert printable("a\n\tb", keep="\n\t") == "a\n\tb"
    assert printable("été 漢字 😀\u200d👧 e\u0301") == "été 漢字 😀\u200d👧 e\u0301"


def test_markdown_and_html_show_a_name_as_it_is() -> None:
    assert markdown_text("train_A, 5 > 3 < 4 & x~y") == "train_A, 5 > 3 < 4 & x~y"
    assert markdown_text("_a_ **b** <i> &lt; `c` [d](e) $f$ ~~g~~\n") == (
        r"\_a\_ \*\*b\*\* \<i> \&lt; \`c\` \[d\](e) \$f\$ \~~g\~~\\x0a"
    )
    assert html_text("<b>&\n\udce9") == "&lt;b&gt;&amp;\n\\xe9"
    lines = markdown_table(["name"], [[name] for name in NAMES])
    assert len(lines) == len(NAMES) + 2
    assert lines[2 + NAMES.index("a|b")] == r"| a\|b |"


@pytest.mark.parametrize("name", NAMES)
def test_any_name_stands_in_a_picture(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.curves({name: {name: [1.0, 2.0], "b": [2.0, 1.0]}}, [1, 2], tmp_path / "a.png", name)
    image = Image.new("RGB", (8, 8))
    pictures.save(pictures.grid([[image]], row_names=[name], column_names=[name]), tmp_path / "b.png")
    assert all(Image.open(tmp_path / one).size for one in ("a.png", "b.png"))


def test_dollar_signs_are_no_formula(tmp_path: Path) -> None:
    """The same dollar signs as signs and as a formula would look different."""
    for name in ("$x^2$", "x^2"):
        pictures.curves({name: {"a": [1.0]}}, [1], tmp_path / f"{len(name)}.png", "")
    images = [np.asarray(Image.open(tmp_path / f"{length}.png")) for length in (3, 5)]
    assert (images[0] != 255).sum() < (images[1] != 255).sum()  # two dollar signs more


@pytest.mark.parametrize("name", NAMES)
def test_any_name_stands_in_a_table_a_list_and_a_progress_bar(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.PlainConsole().print(name, highlight=False)
    assert capsys.readouterr().out.rstrip("\n") == printable(name, keep="\n")
    stream = io.StringIO()
    Console(file=stream, width=80).print(terminal_table(name, ["name"], [[name]]))
    assert printable(name) in stream.getvalue()
    with progress.progress_bar("last", silent=True) as bar:
        task = bar.add_task(name, total=1, last=name)
        columns = [column(bar.tasks[0]) for column in bar.columns if not isinstance(column, str)]
        bar.advance(task)
    shown = [str(column) for column in columns]
    assert shown[0] == shown[-1] == name


def test_stray_bytes_come_back_from_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"caf\udce9": "été"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"caf\udce9": "été"}
