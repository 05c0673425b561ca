"""``sivae-translate serve``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sivae_translate.cli.common import Device, Dtype, Run
from sivae_translate.utils.errors import ConfigError

LOCAL = ("127.0.0.1", "localhost", "::1")
EXAMPLES = 12


@dataclass(frozen=True)
class Serve:
    """Serve a web page that translates pictures, for this machine alone.

    Needs the extra 'web'.
    """

    run: Run
    port: int | None = None
    """Port; default: the first free one from 7860 on."""
    host: str = "127.0.0.1"
    """Address to listen on; with another one, everybody who reaches it can use the page."""
    examples: Path | None = None
    """Folder with pictures to try; the first 12 are shown."""
    largest: int = 2048
    """Longest side of a picture in pixels."""
    megabytes: int = 20
    """Largest upload."""
    device: Device = "auto"
    dtype: Dtype = "auto"


def run(command: Serve) -> int:
    """``sivae-translate serve``."""
    from sivae_translate.data.listing import list_images
    from sivae_translate.inference.translator import Translator
    from sivae_translate.inference.web import serve
    from sivae_translate.utils.progress import console

    if command.largest < 1 or command.megabytes < 1:
        raise ConfigError("--largest and --megabytes are at least 1", remedy="give larger numbers")
    found = [] if command.examples is None else [path for path, _ in list_images([command.examples])]
    translator = Translator.from_pretrained(command.run, device=command.device, dtype=command.dtype)
    app = serve(
        translator,
        host=command.host,
        port=command.port,
        examples=found[:EXAMPLES],
        largest=command.largest,
        megabytes=command.megabytes,
        block=False,
    )
    console.print(f"serving {app.local_url} (Ctrl-C stops)", highlight=False)
    if command.host not in LOCAL:
        console.print(f"everybody who reaches {command.host} can use it", style="yellow")
    app.block_thread()
    return 0
