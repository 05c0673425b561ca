"""``sivae-translate push``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from sivae_translate.cli.common import Run


@dataclass(frozen=True)
class Push:
    """Upload a model with a model card to the hub, where Translator.from_pretrained finds it by name.

    Needs the extra 'hub'; log in with `hf auth login`, or set HF_TOKEN.
    """

    run: Run
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")]
    """Name on the hub; it is made if it does not exist."""
    private: bool = False
    """Make it private, if it is new."""
    license: str | None = None
    """Licence of the weights, for the card, such as mit."""
    show_data: bool = False
    """Also show the run's grid.png, which has training images in it."""


def run(command: Push) -> int:
    """``sivae-translate push``."""
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.progress import console

    translator = Translator.from_pretrained(command.run, device="cpu", dtype="float32")
    address = translator.push_to_hub(
        command.name, private=command.private, license_name=command.license, show_data=command.show_data
    )
    console.print(f"uploaded to {address}", highlight=False)
    return 0
