"""Reports of a run: picture grids, curves, and report.html."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sivae_translate.config import Config, to_yaml
from sivae_translate.data.domains import DomainData, ImageSource
from sivae_translate.data.tensors import to_pil, to_tensor
from sivae_translate.models.latent import LatentModel
from sivae_translate.training.checkpoints import Progress
from sivae_translate.training.log import read_metrics
from sivae_translate.utils import pictures
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.files import write_text
from sivae_translate.utils.text import html_text

SOURCES = 8
"""Number of source images in a grid."""
SHOWN_DOMAINS = 8
"""Most target domains in a grid."""
SAMPLE_COLUMNS = 6
"""Number of columns of samples in the grid of a plain model."""


def health(metrics: Mapping[str, float]) -> str:
    """A short summary of the metrics that show whether training is healthy."""
    words = [
        f"rec {metrics['reconstruction']:.4g}",
        f"kl {metrics['kl_content']:.3g}+{metrics['kl_style']:.3g}",
    ]
    if "kl_fake" in metrics:
        difference, expelbo = metrics["kl_difference"], metrics["exp_elbo"]
        words.append(f"fake {metrics['kl_fake']:.3g} diff {difference:+.3g} expELBO {expelbo:.3g}")
    return "  ".join(words)


@torch.no_grad()
def save_grid(
    model: LatentModel, data: DomainData, path: Path, autocast: Callable[[], AbstractContextManager[object]]
) -> None:
    """Write a grid of sources with their reconstructions, translations to each domain, and samples.

    The sources are training images, so that nothing is chosen by looking at test images.
    """
    device = model.style_prior.means.device
    domains = list(range(len(data.domains)))
    targets = domains[:SHOWN_DOMAINS] if model.translates else []
    picks = [(domain, index) for index in range(SOURCES) for domain in domains][:SOURCES]
    sources = np.stack([_readable(data.train[domain], index * 37) for domain, index in picks])
    images = to_tensor(sources).to(device)
    generator = torch.Generator(device).manual_seed(0)
    with autocast():
        columns = [images, model.decode(model.encode(images).mean)]
        for domain in targets:
            style = model.prior_style(torch.full((len(images),), domain, device=device), len(images))
            columns.append(model.translate(images, style))
        if not model.translates:
            columns += [model.sample(len(images), None, generator) for _ in range(SAMPLE_COLUMNS)]
        drawn = [model.sample(2, domain if model.domains else None, generator) for domain in targets]
    rows: list[list[Image.Image | None]] = [
        [to_pil(column[row]) for column in columns] for row in range(len(images))
    ]
    if drawn:
        rows += [[None, None, *(to_pil(s[i]) for s in drawn)] for i in range(2)]
    headings = [f"to {data.domains[domain] or 'prior mean'}" for domain in targets] or [
        "sample"
    ] * SAMPLE_COLUMNS
    picture = pictures.grid(
        rows,
        row_names=[*(data.domains[domain] or "image" for domain, _ in picks), "sample", "sample"],
        column_names=["source", "rebuilt", *headings],
        cell=max(96, model.image_shape[1]),
    )
    pictures.save(picture, path)


def _readable(source: ImageSource, start: int) -> np.ndarray:
    """The first readable image from a position on; the loader reports the others."""
    for index in range(start, start + len(source)):
        with suppress(DataError):
            return source[index % len(source)]
    raise DataError(
        "no image of a domain can be read any more", remedy="check that the data folder still exists"
    )


def write_report(folder: Path, config: Config, facts: Mapping[str, object]) -> None:
    """Write curves.png and report.html, from metrics.jsonl and grid.png."""
    lines = read_metrics(folder)
    panels = {
        "reconstruction error": ["reconstruction", "back_translation"],
        "KL of real images (nats)": ["kl_content", "kl_style"],
        "KL, real and fake (nats)": ["kl_real", "kl_fake", "kl_fake_style"],
        "KL difference, fake - real": ["kl_difference"],
        "expELBO of fakes": ["exp_elbo"],
        "gradient norm": ["gradient_norm_encoders", "gradient_norm_decoder"],
    }
    missing = float("nan")
    series = {
        title: {
            name: [line.get(name, missing) for line in lines]
            for name in names
            if any(name in line for line in lines)
        }
        for title, names in panels.items()
    }
    drawn = {title: values for title, values in series.items() if values}
    if drawn:
        pictures.curves(drawn, [int(line["step"]) for line in lines], folder / "curves.png", folder.name)
    write_text(folder / "report.html", _page(folder, config, facts))


def _inline(picture: Path) -> str:
    encoded = base64.b64encode(picture.read_bytes()).decode()
    return f'<h2>{picture.stem}</h2><img alt="{picture.stem}" src="data:image/png;base64,{encoded}">'


def _page(folder: Path, config: Config, facts: Mapping[str, object]) -> str:
    """A self-contained page with embedded pictures."""
    rows = "".join(
        f"<tr><td>{html_text(str(k))}</td><td>{html_text(str(v))}</td></tr>" for k, v in facts.items()
    )
    images = "".join(
        _inline(folder / name) for name in ("grid.png", "curves.png") if (folder / name).exists()
    )
    return (
        '<!doctype html><meta charset="utf-8"><style>body{font-family:sans-serif;margin:2em}'
        "td{padding:.2em 1em .2em 0}"
        f"img{{max-width:100%}}</style><title>{html_text(folder.name)}</title><h1>{html_text(folder.name)}</h1>"
        f"<table>{rows}</table>{images}<h2>settings</h2><pre>{html_text(to_yaml(config))}</pre>\n"
    )


def facts(folder: Path, config: Config, progress: Progress, images: int, processes: int) -> dict[str, object]:
    """Facts about a training, stored in its model file.

    Args:
        folder: the run folder.
        config: settings of the run.
        progress: progress of the run.
        images: number of training images.
        processes: number of processes.
    """
    lines = read_metrics(folder)
    return {
        "steps": progress.step,
        "minutes": round(progress.seconds / 60, 2),
        "training_images": images,
        "processes": processes,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "seed": config.training.seed,
        "started_from": progress.started_from,
        "last_metrics": lines[-1] if lines else {},
    }
