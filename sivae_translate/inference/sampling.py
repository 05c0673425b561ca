"""Writing samples to a folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sivae_translate.inference.jobs import check_is_no_image_name
from sivae_translate.inference.translator import Translator
from sivae_translate.utils import pictures
from sivae_translate.utils.encoding import PNG, Encoding
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.files import file_stem, require_writable
from sivae_translate.utils.progress import track
from sivae_translate.utils.seeds import END, check_seed

BATCH = 64
GRID_COLUMNS = 8
GRID_ROWS = 8


def sample_files(
    translator: Translator,
    out: Path,
    n: int,
    *,
    domain: str | None = None,
    seed: int = 0,
    encoding: Encoding = PNG,
) -> list[Path]:
    """Write n samples of one or of every domain, and the first ones as samples.png.

    Args:
        translator: the model.
        out: output folder; files are <domain>-<number>.<format>, or sample-<number>.<format> without domains;
            see `file_stem`.
        n: number of samples of each domain.
        domain: domain name; None is every domain.
        seed: the same seed, n and device give the same files.
        encoding: format and quality of the files.

    Returns:
        The files, without samples.png.

    Raises:
        InputError: n is not positive, there is no such domain or seed, or ``out`` is named like an image.
        OutputError: the folder cannot be written to.
    """
    if n < 1:
        raise InputError(f"n is {n}", remedy="give 1 or more")
    check_seed(seed)
    check_is_no_image_name(str(out), is_folder=out.is_dir())
    names: list[str | None] = [domain]
    if domain is None and translator.model.domains:
        names = list(translator.domains)
    if names[0] is not None:
        translator.domain_index(names[0])
    require_writable(out)
    written: list[Path] = []
    examples: dict[str, list[Image.Image]] = {}
    for index, name in enumerate(names):
        label = file_stem(name or "sample")
        for start in track(range(0, n, BATCH), f"sampling {label}"):
            made = translator.sample(name, min(BATCH, n - start), (seed + 1_000_003 * index + start) % END)
            for offset, image in enumerate(made):
                path = out / f"{label}-{start + offset:05d}{encoding.suffix}"
                encoding.save(image, path)
                written.append(path)
            examples[label] = (examples.get(label, []) + made)[: GRID_COLUMNS * GRID_ROWS]
    pictures.save(_grid(examples), out / "samples.png")
    return written


def _grid(examples: dict[str, list[Image.Image]]) -> Image.Image:
    """One row per domain; without domains, as many rows as needed."""
    if len(examples) > 1:
        return pictures.grid(
            [images[:GRID_COLUMNS] for images in examples.values()], row_names=list(examples)
        )
    images = next(iter(examples.values()))
    return pictures.grid([images[i : i + GRID_COLUMNS] for i in range(0, len(images), GRID_COLUMNS)])
