"""A web page for a model (the extra ``web``, gradio): drop a picture, choose a style, look and download.

Nothing is sent anywhere: this machine serves the page to itself alone, unless a host is named, and
gradio's statistics and public links are off.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from sivae_translate.data.reading import open_image
from sivae_translate.inference.arguments import PERCENTILE
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.errors import ConfigError, InputError, SivaeError
from sivae_translate.utils.extras import import_optional

T = TypeVar("T")
MEAN, DRAW, LIKE = "mean of the domain", "draw from the domain", "like references"
"""Where a style comes from, in the words of the page."""
MEGABYTES = 20
LARGEST = 2048
"""Longest side of a picture that the page takes, in pixels."""
WAITING = 20
"""How many requests may wait."""
CACHE_SECONDS = 3600
"""How long uploads and results are kept."""


class Studio:
    """What the page does with a model, without the page.

    Args:
        translator: the model.
        largest: longest side of a picture in pixels.
    """

    def __init__(self, translator: Translator, largest: int = LARGEST) -> None:
        self.translator, self.largest = translator, largest

    def translate(
        self,
        source: str | None,
        kind: str,
        domain: str | None,
        seed: float,
        references: Sequence[str] | None,
        strength: float,
    ) -> tuple[tuple[Image.Image, Image.Image], str, str]:
        """Translate a picture; returns it before and after, a file to download, and the verdict."""
        picture = self.read(source)
        code = self._style(picture, kind, domain, seed, references, strength)
        made = self.translator(picture, code, size="input")
        return (picture.convert("RGB"), made.convert("RGB")), _stored(made), self.verdict(picture)

    def strip(
        self,
        source: str | None,
        kind: str,
        domain: str | None,
        seed: float,
        references: Sequence[str] | None,
        steps: float,
    ) -> list[Image.Image]:
        """The picture from its own style to the chosen one, in equal steps."""
        picture = self.read(source)
        codes = [
            self._style(picture, kind, domain, seed, references, part.item())
            for part in torch.linspace(0, 1, max(2, round(steps)))
        ]
        return self.translator([picture] * len(codes), torch.cat(codes))

    def swap(self, first: str | None, second: str | None) -> tuple[Image.Image, Image.Image]:
        """Exchange the styles of two pictures."""
        return self.translator.swap(self.read(first), self.read(second))

    def read(self, path: str | None) -> Image.Image:
        """A picture of at most the largest size.

        Raises:
            InputError: there is none, or it is too large.
            DataError: it cannot be read.
        """
        if path is None:
            raise InputError("there is no picture yet", remedy="drop one first")
        picture = open_image(path, self.translator.processor.reading)
        if max(picture.size) > self.largest:
            raise InputError(
                f"the picture has {picture.width} x {picture.height} px",
                remedy=f"make its longer side {self.largest} px or less",
            )
        return picture

    def verdict(self, picture: Image.Image) -> str:
        """Whether the picture is like the training data."""
        engine = self.translator.engine
        if engine.calibration is None:
            return "The model cannot tell whether it has seen pictures like this one."
        (verdict,) = self.translator.typicality(picture)
        if verdict.percentile < min(PERCENTILE, engine.threshold(None)):
            return f"Like the training pictures (percentile {verdict.percentile:.1f})."
        return f"**Unlike the training pictures, so the result may mean nothing:** {verdict}."

    def _style(
        self,
        picture: Image.Image,
        kind: str,
        domain: str | None,
        seed: float,
        references: Sequence[str] | None,
        strength: float,
    ) -> Tensor:
        """The chosen style (1, S), mixed with the picture's own."""
        if kind == LIKE:
            if not references:
                raise InputError("there are no reference pictures", remedy="add one or more")
            style = Style.like(*(self.read(one) for one in references))
        elif not domain:
            raise InputError("there is no domain", remedy="choose one, or give references")
        else:
            style = Style.draw(domain, int(seed)) if kind == DRAW else Style.domain(domain)
        own = self.translator.encode(picture).style.mean
        return torch.lerp(own, self.translator.style_code(style), float(strength))


def make_app(translator: Translator, *, examples: Sequence[str | Path] = (), largest: int = LARGEST) -> Any:
    """A gradio app for a model; `serve` starts it with limits.

    Args:
        translator: a model with styles.
        examples: pictures to try.
        largest: longest side of a picture in pixels.

    Raises:
        ConfigError: gradio is not installed.
        InputError: the model is a plain one, which does not translate.
    """
    gr = _gradio()
    if not translator.model.translates:
        raise InputError("a plain model does not translate", remedy="serve one with model.kind translation")
    studio = Studio(translator, largest)
    kinds = [MEAN, DRAW, LIKE] if translator.model.domains else [LIKE]
    domains = [name for name in translator.domains if name]
    title = f"sivae-translate: {', '.join(domains[:6]) or 'styles of pictures'}"
    with gr.Blocks(
        title=title, analytics_enabled=False, delete_cache=(CACHE_SECONDS // 2, CACHE_SECONDS)
    ) as app:
        gr.Markdown(f"# Translate a picture\nThe model computes at {translator.image_size} px.")
        with gr.Tab("Translate"):
            _translating(gr, studio, kinds, domains, [[str(one)] for one in examples])
        with gr.Tab("Swap"):
            _swapping(gr, studio)
    app.queue(max_size=WAITING, default_concurrency_limit=1)
    return app


def serve(
    translator: Translator,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    examples: Sequence[str | Path] = (),
    largest: int = LARGEST,
    megabytes: int = MEGABYTES,
    block: bool = True,
) -> Any:
    """Serve the page until it is interrupted; returns the app.

    Args:
        translator: a model with styles.
        host: address to listen on; only this machine by default.
        port: port; None is the first free one from 7860 on.
        examples: pictures to try.
        largest: longest side of a picture in pixels.
        megabytes: largest upload.
        block: return only when it is interrupted.

    Raises:
        ConfigError: gradio is not installed, or the port is taken.
        InputError: the model is a plain one.
    """
    app, gr = make_app(translator, examples=examples, largest=largest), _gradio()
    font = ["system-ui", "sans-serif"]
    try:
        app.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            ssr_mode=False,
            show_error=True,
            max_file_size=f"{megabytes}mb",
            allowed_paths=[str(Path(one).absolute()) for one in examples],
            theme=gr.themes.Default(font=font, font_mono=["ui-monospace", "monospace"]),
            prevent_thread_lock=not block,
        )
    except OSError as error:
        raise ConfigError(
            f"cannot serve on {host}, port {port or 7860}: {error}", remedy="name another port"
        ) from error
    return app


def _translating(
    gr: Any, studio: Studio, kinds: list[str], domains: list[str], examples: list[list[str]]
) -> None:
    """The tab that translates."""
    with gr.Row():
        with gr.Column():
            source = gr.Image(type="filepath", sources=["upload", "clipboard"], label="picture", height=320)
            kind = gr.Radio(kinds, value=kinds[0], label="style")
            domain = gr.Dropdown(domains, value=domains[-1] if domains else None, label="domain")
            strength = gr.Slider(0, 1, 1, step=0.05, label="strength: 0 is its own style")
            button = gr.Button("Translate", variant="primary")
            with gr.Accordion("seed and reference pictures", open=False):
                seed = gr.Number(0, precision=0, minimum=0, maximum=2**31, label="seed of a draw")
                references = gr.File(
                    file_count="multiple", file_types=["image"], label="reference pictures", height=140
                )
        with gr.Column():
            both = gr.ImageSlider(label="before and after", format="png", interactive=False, height=320)
            verdict = gr.Markdown()
            download = gr.DownloadButton("Download")
            steps = gr.Slider(2, 12, 6, step=1, label="steps of an interpolation")
            more = gr.Button("Interpolate")
            strip = gr.Gallery(
                label="from its own style to the chosen one", columns=6, format="png", height=180
            )
    if examples:
        gr.Examples(examples, [source], label="examples", cache_examples=False)
    style = [source, kind, domain, seed, references]
    _wire(button, studio.translate, [*style, strength], [both, download, verdict], "translate")
    _wire(more, studio.strip, [*style, steps], [strip], "interpolate")


def _swapping(gr: Any, studio: Studio) -> None:
    """The tab that exchanges the styles of two pictures."""
    with gr.Row():
        first, second = (
            gr.Image(type="filepath", sources=["upload", "clipboard"], label=label, height=280)
            for label in ("first", "second")
        )
    button = gr.Button("Swap styles", variant="primary")
    with gr.Row():
        results = [
            gr.Image(label=label, format="png", interactive=False, height=280)
            for label in ("first in the second's style", "second in the first's style")
        ]
    _wire(button, studio.swap, [first, second], results, "swap")


def _wire(button: Any, method: Callable[..., Any], inputs: list[Any], outputs: list[Any], name: str) -> None:
    """Call a method when a button is pressed; one at a time, since all share the model."""
    button.click(_told(method), inputs, outputs, api_name=name, concurrency_id="model", concurrency_limit=1)


def _told(method: Callable[..., T]) -> Callable[..., T]:
    """Show errors of this library on the page, with their remedies."""
    gr = _gradio()

    @wraps(method)
    def call(*arguments: Any) -> T:
        try:
            return method(*arguments)
        except SivaeError as error:
            raise gr.Error(
                f"{_without_paths(error.what)}. Remedy: {error.remedy}.", print_exception=False
            ) from error

    return call


def _without_paths(message: str) -> str:
    """A message without the folders of this machine."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in message.split())


def _stored(picture: Image.Image) -> str:
    """The result as a file that the page offers for download."""
    with tempfile.NamedTemporaryFile(prefix="translated-", suffix=".png", delete=False) as file:
        picture.save(file, "PNG")
    return file.name


def _gradio() -> Any:
    """The package gradio.

    Raises:
        ConfigError: it is not installed.
    """
    return import_optional("gradio", "gradio is not installed", "'sivae-translate[web]'")
