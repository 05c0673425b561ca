"""Draws docs/pictures/concepts.png: content, style, prior and fakes, with the shipped model's own codes.

python assets/draw_concepts.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.sources import glyphs
from sivae_translate.data.tensors import to_tensor
from sivae_translate.inference.translator import Translator
from sivae_translate.models.codes import Codes
from sivae_translate.utils.pictures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "concepts.png"
LETTER, SOURCE, TARGET, REFERENCE = "a", "dejavu-sans", "dejavu-serif-bold-italic", "dejavu-serif"
WIDTH, HEIGHT = 11.0, 5.6
SHRINK = 0.82
"""Scale of everything but the letters, which appear larger beside it."""
SEED = 3
BLUE, ORANGE = "#1f5fa8", "#c45a11"


def letters(model: Translator, font: str, codes: tuple[int, ...]) -> Tensor:
    """Letters of a font as the model expects them: (N, 1, H, W)."""
    return to_tensor(glyphs.draw_many(font, codes, model.image_size)[..., None])


def place(figure: Figure, x: float, y: float, size: float) -> Axes:
    """Square axes, in inches, without ticks."""
    axes = figure.add_axes((x / WIDTH, y / HEIGHT, size / WIDTH, size / HEIGHT))
    axes.set_xticks([])
    axes.set_yticks([])
    return axes


def write(figure: Figure, x: float, y: float, text: str, **look: object) -> None:
    """Write centred text at a place in inches."""
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, **look}
    figure.text(x / WIDTH, y / HEIGHT, text, **style)


def arrow(figure: Figure, start: tuple[float, float], end: tuple[float, float], line: str = "solid") -> None:
    """Draw an arrow from one place in inches to another."""
    from matplotlib.patches import FancyArrowPatch

    tail, head = ((x / WIDTH, y / HEIGHT) for x, y in (start, end))
    look = FancyArrowPatch(
        tail,
        head,
        transform=figure.transFigure,
        arrowstyle="-|>",
        mutation_scale=13,
        color="0.35",
        linewidth=1.2,
        linestyle=line,
    )
    figure.add_artist(look)


def show(figure: Figure, image: Tensor, x: float, y: float, size: float) -> None:
    """Show a grey image (1, H, W) in [0, 1]."""
    axes = place(figure, x, y, size)
    axes.imshow(image[0].numpy(), cmap="gray", vmin=0, vmax=1)
    for edge in axes.spines.values():
        edge.set_color("0.7")


def show_content(figure: Figure, content: Tensor, x: float, y: float, size: float) -> None:
    """Show the channels of a content code (Cc, h, w), side by side."""
    side = int(len(content) ** 0.5)
    rows = [torch.cat(list(content[row * side : (row + 1) * side]), dim=1) for row in range(side)]
    axes = place(figure, x, y, size)
    axes.imshow(torch.cat(rows).numpy(), cmap="PuOr", vmin=-3, vmax=3)
    for line in range(1, side):
        edge = line * content.shape[1] - 0.5
        axes.axhline(edge, color="white", linewidth=1.5)
        axes.axvline(edge, color="white", linewidth=1.5)


def show_styles(figure: Figure, model: Translator, style: Tensor, x: float, y: float, size: float) -> None:
    """Show the style priors of all domains, the codes of some letters, and the code (S,) of the source.

    The axes are the first two principal components of the priors.
    """
    from matplotlib.patches import Circle

    means = torch.cat([model.engine.prior_mean(index) for index in range(len(model.domains))])
    middle = means.mean(0)
    plane = torch.linalg.svd(means - middle, full_matrices=False).Vh[:2].T
    test = glyphs.split(0).test[::3]
    axes = place(figure, x, y, size)
    for index, font in enumerate(model.domains):
        colour = {SOURCE: BLUE, TARGET: ORANGE}.get(font, "0.6")
        codes = (model.engine.encode(letters(model, font, test)).style.mean - middle) @ plane
        axes.scatter(codes[:, 0].numpy(), codes[:, 1].numpy(), s=3, color=colour, alpha=0.6)
        across, up = ((means[index] - middle) @ plane).tolist()
        axes.add_patch(Circle((across, up), 1.0, fill=False, color=colour))
        axes.plot([across], [up], "+", color=colour, markersize=8)
    across, up = ((style - middle) @ plane).tolist()
    axes.plot([across], [up], "o", color=BLUE, markersize=6, markeredgecolor="white")
    axes.set_aspect("equal", adjustable="datalim")


def fakes(model: Translator, codes: Codes, reference: Tensor) -> dict[str, Tensor]:
    """Fakes decoded from an image's codes and from draws: title to image (1, H, W)."""
    generator = torch.Generator().manual_seed(SEED)
    mean = model.engine.prior_mean(model.domain_index(TARGET))
    content, style = (torch.randn(code.shape, generator=generator) for code in (codes.content, mean))
    made = {
        "reconstruction\nown content, own style": codes,
        "translation\na domain's prior mean": Codes(codes.content, mean),
        "translation\na draw from this prior": Codes(codes.content, mean + style),
        "translation\nstyle of a reference": Codes(codes.content, model.engine.encode(reference).style.mean),
        "prior sample\ncontent and style drawn": Codes(content, mean + style),
    }
    return {title: model.engine.decode(one)[0] for title, one in made.items()}


def draw() -> Figure:
    """Draw the whole picture."""
    model = Translator.from_pretrained("glyphs-64", device="cpu", dtype="float32")
    image, reference = (letters(model, font, (ord(LETTER),)) for font in (SOURCE, REFERENCE))
    codes = model.engine.encode(image).mean
    figure = new_figure(SHRINK * WIDTH, SHRINK * HEIGHT)
    figure.set_layout_engine("none")
    show(figure, image[0], 0.25, 2.2, 1.3)
    write(figure, 0.9, 3.65, "image x")
    write(figure, 0.9, 2.02, "domain: DejaVu Sans", fontsize=8, color=BLUE)

    write(figure, 3.75, 5.32, "content code c", weight="bold")
    write(figure, 3.75, 5.1, "what domains share; p(c) = N(0, I)", fontsize=8)
    show_content(figure, codes.content[0], 2.8, 3.1, 1.9)
    write(figure, 3.75, 2.42, "style code s", weight="bold")
    write(figure, 3.75, 2.2, "the domain, and the image within it", fontsize=8)
    show_styles(figure, model, codes.style[0], 2.8, 0.2, 1.9)
    legend = "each ring: the prior\nN(m, I) of a domain,\n+ its mean m\nlarge dot: s of x"
    write(figure, 1.3, 0.55, legend, fontsize=7.5)
    arrow(figure, (1.6, 3.1), (2.75, 4.0))
    arrow(figure, (1.6, 2.6), (2.75, 1.3))
    write(figure, 1.98, 3.9, "content\nencoder", fontsize=8)
    write(figure, 1.98, 1.75, "style\nencoder", fontsize=8)

    arrow(figure, (4.75, 4.0), (6.6, 3.0))
    arrow(figure, (4.75, 1.5), (6.6, 2.6))
    write(
        figure,
        6.95,
        2.8,
        "decoder",
        bbox={"boxstyle": "round,pad=0.4", "facecolor": "0.94", "edgecolor": "0.5"},
    )
    for row, (title, made) in enumerate(fakes(model, codes, reference).items()):
        y = 4.25 - 1.01 * row
        arrow(figure, (7.35, 2.8), (7.95, y + 0.45))
        show(figure, made, 8.0, y, 0.9)
        write(figure, 9.95, y + 0.45, title, fontsize=8.5)
    write(figure, 8.95, 5.36, "fakes: all that the decoder makes", weight="bold")
    arrow(figure, (7.9, 0.3), (4.85, 0.3), line="dashed")
    game = "The encoders read the fakes, too:\nthey push the fakes' KL up,\nthe decoder pulls it down."
    write(figure, 6.2, 0.75, game, fontsize=8)
    return figure


if __name__ == "__main__":
    np.seterr(all="raise")
    with torch.no_grad():
        save_figure(draw(), PICTURE, dpi=160)
