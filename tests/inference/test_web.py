"""The web page through gradio's own client, on this machine alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sivae_translate import Translator, make_app
from sivae_translate.inference.web import DRAW, LIKE, MEAN, Studio, serve
from sivae_translate.utils.errors import ConfigError, InputError

ROOT = Path(__file__).resolve().parents[2]
LETTERS = sorted((ROOT / "assets" / "examples" / "letters").glob("*.png"))
BROWSERS = ("chromium-headless-shell", "chromium")


@pytest.fixture(scope="module")
def glyphs() -> Translator:
    return Translator.from_pretrained("glyphs", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def page(glyphs: Translator) -> Iterator[Any]:
    pytest.importorskip("gradio", reason="the extra 'web' is not installed; make test-web has it")
    app = serve(glyphs, examples=LETTERS[:2], largest=512, megabytes=1, block=False)
    yield app
    app.close()


@pytest.fixture
def client(page: Any) -> Any:
    from gradio_client import Client

    return Client(page.local_url, verbose=False)


def ask(client: Any, source: Path, kind: str = MEAN, domain: str = "dejavu-serif", **options: Any) -> Any:
    from gradio_client import handle_file

    references = [handle_file(str(path)) for path in options.get("references", ())]
    arguments = (handle_file(str(source)), kind, domain, options.get("seed", 0), references)
    return client.predict(*arguments, options.get("strength", 1.0), api_name="/translate")


def pixels_of(path: str) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"))


def test_an_upload_is_translated_as_the_library_does(client: Any, glyphs: Translator) -> None:
    both, download, verdict = ask(client, LETTERS[0])
    expected = np.asarray(glyphs(LETTERS[0], "dejavu-serif", size="input"))
    np.testing.assert_array_equal(pixels_of(download), expected)
    np.testing.assert_array_equal(pixels_of(both[1]), expected)
    assert "percentile" in verdict


def test_styles_change_the_result(client: Any, glyphs: Translator) -> None:
    def made(*arguments: Any, **options: Any) -> np.ndarray:
        return pixels_of(ask(client, LETTERS[0], *arguments, **options)[1])

    drawn = np.asarray(glyphs(LETTERS[0], ("stix-general", 3), size="input"))
    np.testing.assert_array_equal(made(DRAW, "stix-general", seed=3), drawn)
    like = np.asarray(glyphs(LETTERS[0], [LETTERS[1], LETTERS[2]], size="input"))
    np.testing.assert_array_equal(made(LIKE, references=LETTERS[1:3]), like)
    own = glyphs.encode(LETTERS[0]).style.mean
    kept = np.asarray(glyphs(LETTERS[0], own, size="input"))
    np.testing.assert_array_equal(made(strength=0.0), kept)  # no strength is its own style


def test_an_interpolation_and_a_swap(client: Any) -> None:
    from gradio_client import handle_file

    letter, other = (handle_file(str(path)) for path in LETTERS[:2])
    strip = client.predict(letter, MEAN, "stix-general", 0, None, 4, api_name="/interpolate")
    assert len(strip) == 4
    assert len(client.predict(letter, other, api_name="/swap")) == 2


def test_bad_files_are_errors_on_the_page(client: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    with pytest.raises(Exception, match=r"(?i)image|picture|identify"):
        ask(client, bad)
    Image.new("L", (600, 20)).save(tmp_path / "long.png")
    with pytest.raises(Exception, match="512 px or less"):
        ask(client, tmp_path / "long.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)).save(bad)
    with pytest.raises(Exception):  # noqa: B017 - an upload of more than a megabyte
        ask(client, bad)
    with pytest.raises(Exception, match="add one or more"):
        ask(client, LETTERS[0], LIKE)


def test_two_users_at_once_get_their_own_results(page: Any, glyphs: Translator) -> None:
    from gradio_client import Client

    def use(place: int) -> list[np.ndarray]:
        own = Client(page.local_url, verbose=False)
        return [pixels_of(ask(own, LETTERS[place])[1]) for _ in range(2)]

    with ThreadPoolExecutor(2) as threads:
        for place, results in enumerate(threads.map(use, (0, 1))):
            expected = np.asarray(glyphs(LETTERS[place], "dejavu-serif", size="input"))
            for result in results:
                np.testing.assert_array_equal(result, expected)


def test_the_page_is_local_and_keeps_to_itself(page: Any) -> None:
    assert page.local_url.startswith("http://127.0.0.1:")
    assert page.share_url is None
    assert page.analytics_enabled is False


@pytest.mark.full
def test_a_browser_shows_the_page(page: Any, tmp_path: Path) -> None:
    browser = next(filter(None, map(which, BROWSERS)), None)
    if browser is None:
        pytest.skip("there is no headless Chromium")
    picture = tmp_path / "page.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=15000"]
    command = [browser, *options, "--window-size=1200,1000", f"--screenshot={picture}", page.local_url]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(picture) as shown:
        assert len(shown.convert("RGB").getcolors(2**24) or []) > 50  # not an empty page


def test_a_plain_model_and_a_missing_package_are_errors(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    with pytest.raises(ConfigError, match=r"sivae-translate\[web\]"):
        make_app(translator)
    with pytest.raises(InputError, match="no picture yet"):
        Studio(translator).read(None)
