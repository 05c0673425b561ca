"""Pictures of an evaluation, which a reader looks at before the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sivae_translate.data.domains import DomainData
from sivae_translate.data.sources import StyleKind
from sivae_translate.data.tensors import to_pil, to_tensor
from sivae_translate.evaluation.ood import OodResult
from sivae_translate.evaluation.results import Case, Evaluation
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.utils import pictures

ROWS, COLUMNS = 8, 10
HARDEST = 12
BINS = 60


def case_picture(evaluation: Evaluation) -> Image.Image:
    """Rows of best, median and worst cases: source, translation and, if known, the truth."""
    third = len(evaluation.cases) // 3
    rows, names = [], []
    for label, start in (("best", 0), ("median", third), ("worst", 2 * third)):
        cases = evaluation.cases[start : start + third]
        for part in ("source", "output", "truth"):
            images = [_part(case, part) for case in cases]
            if any(image is not None for image in images):
                rows.append(images)
                names.append(f"{label}: {part}")
    return pictures.grid(rows, row_names=names, cell=96)


def _part(case: Case, part: str) -> Image.Image | None:
    image = getattr(case, part)
    return None if image is None else to_pil(image)


def content_and_style(translator: Translator, data: DomainData, style: StyleKind) -> Image.Image:
    """Test images down the side, styles (references or domains) along the top, translations between them."""
    engine = translator.engine
    domains = list(zip(data.test_domains, data.test, strict=True))
    contents = [domains[row % len(domains)] for row in range(ROWS)]
    images = [source[(37 * row) % len(source)] for row, (_, source) in enumerate(contents)]
    chosen = domains[:COLUMNS]
    if style == "reference":
        references = [source[(53 * column + 11) % len(source)] for column, (_, source) in enumerate(chosen)]
        codes = engine.encode(to_tensor(np.stack(references))).style.mean
        heads = [pictures.from_array(image) for image in references]
    else:
        codes = torch.cat([translator.style_code(Style.domain(name)) for name, _ in chosen])
        heads = [pictures.from_array(source[11 % len(source)]) for _, source in chosen]
    batch = to_tensor(np.stack(images))
    made = [engine.translate(batch, code[None]) for code in codes]
    rows: list[list[Image.Image | None]] = [[None, *heads]]
    rows += [
        [pictures.from_array(image), *(to_pil(column[row]) for column in made)]
        for row, image in enumerate(images)
    ]
    names = ["style of", *(name for name, _ in contents)]
    return pictures.grid(rows, row_names=names, cell=max(64, translator.image_size))


def save_histograms(result: OodResult, path: Path, title: str) -> None:
    """Write histograms of the scores of known and foreign images, one panel per score.

    Raises:
        OutputError: the picture cannot be written.
    """
    columns = 4
    rows = -(-len(result.inside) // columns)
    figure = pictures.new_figure(3.4 * columns, 2.6 * rows)
    figure.suptitle(title)
    for index, name in enumerate(result.inside):
        axes = figure.add_subplot(rows, columns, index + 1)
        both = np.concatenate([result.inside[name], result.outside[name]])
        low, high = np.quantile(both, [0.002, 0.998])
        edges = np.linspace(low, high if high > low else low + 1, BINS)
        for label, values in (("known", result.inside[name]), ("foreign", result.outside[name])):
            clipped = np.clip(values, edges[0], edges[-1])
            axes.hist(clipped, bins=edges.tolist(), alpha=0.6, density=True, label=label)
        axes.set_title(f"{name}, AUROC {result.separations[name].auroc.mean:.3f}", fontsize=9)
        axes.set_yticks([])
        axes.legend(fontsize=7)
    pictures.save_figure(figure, path, dpi=100)


def hardest_images(result: OodResult, inside: np.ndarray, outside: np.ndarray) -> Image.Image:
    """For each score, the foreign images with the lowest scores and the known ones with the highest.

    Args:
        result: scores of these images.
        inside: known images, uint8 (N, H, W, C).
        outside: foreign images, uint8 (M, H, W, C).
    """
    rows, names = [], []
    for name in result.inside:
        order = np.argsort(result.outside[name], kind="stable")[:HARDEST]
        rows.append([pictures.from_array(outside[i]) for i in order])
        names.append(f"{name}: foreign, taken for known")
        order = np.argsort(-result.inside[name], kind="stable")[:HARDEST]
        rows.append([pictures.from_array(inside[i]) for i in order])
        names.append(f"{name}: known, taken for foreign")
    return pictures.grid(rows, row_names=names, cell=64)
