"""Draws docs/pictures/web.png: the web page as it opens, in a headless Chromium.

``python -m assets.draw_web`` needs the extra ``web`` and ``chromium-headless-shell`` or ``chromium``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

from PIL import Image

from sivae_translate.inference.translator import Translator
from sivae_translate.inference.web import serve

ROOT = Path(__file__).resolve().parent.parent
LETTERS = sorted((ROOT / "assets" / "examples" / "letters").glob("*.png"))
BROWSERS = ("chromium-headless-shell", "chromium")
SIZE = (1200, 1000)


def main() -> None:
    """Serve, let the browser open the page, and store what it shows."""
    browser = next(filter(None, map(which, BROWSERS)), None)
    if browser is None:
        sys.exit("there is no headless Chromium; Debian has the package chromium-headless-shell")
    out = ROOT / "docs" / "pictures" / "web.png"
    app = serve(Translator.from_pretrained("glyphs-64", device="cpu"), examples=LETTERS[:6], block=False)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "page.png")
        size = f"--window-size={SIZE[0]},{SIZE[1]}"
        subprocess.run([browser, *options, size, f"--screenshot={shot}", app.local_url], check=True)
        with Image.open(shot) as picture:
            picture.convert("RGB").quantize(128).save(out, optimize=True)
    app.close()
    print(out)


if __name__ == "__main__":
    main()
