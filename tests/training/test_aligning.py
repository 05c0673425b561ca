"""Alignments: what they are fitted to, and that they are kept only where they help."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sivae_translate.cli.app import main
from sivae_translate.data.sources.glyphs import FONTS, draw_many, split
from sivae_translate.data.tensors import to_tensor
from sivae_translate.models.alignment import Alignment
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.weights import find_model, load_model
from sivae_translate.training.aligning import (
    RIDGE,
    fit_alignment,
    fit_map,
    logistic_regression,
    mutual_neighbours,
    ridge_regression,
)

LETTERS = 600


def test_mutual_neighbours_are_each_others_nearest() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(30, 2), torch.randn(40, 2)
    expected = []
    for i in range(30):
        j = min(range(40), key=lambda j: float((first[i] - second[j]).norm()))
        if i == min(range(30), key=lambda k: float((first[k] - second[j]).norm())):
            expected.append((i, j))
    found = mutual_neighbours(first, second)
    assert list(zip(*(one.tolist() for one in found), strict=True)) == expected


def test_the_map_minimises_its_objective() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, 3, dtype=torch.float64)
    fitted = ridge_regression(first, second)
    matrix, offset = fitted.matrix.requires_grad_(), fitted.offset.requires_grad_()
    error = (second - first - first @ matrix - offset).square().sum() + RIDGE * 50 * matrix.square().sum()
    for gradient in torch.autograd.grad(error, [matrix, offset]):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-9, rtol=0)


def test_a_shift_between_domains_is_found_without_pairs() -> None:
    torch.manual_seed(0)
    cloud = torch.randn(400, 6)
    fitted = fit_map(cloud[torch.randperm(400)], cloud + 0.8)
    torch.testing.assert_close(fitted(cloud), cloud + 0.8, atol=0.1, rtol=0)


def test_domains_are_told_from_codes() -> None:
    torch.manual_seed(0)
    labels = torch.arange(300) % 3
    codes = torch.randn(300, 4) + 4 * torch.eye(3, 4)[labels]
    weights, bias = logistic_regression(codes, labels, 3)
    assert ((codes @ weights.T + bias).argmax(1) == labels).float().mean() > 0.97


def letters(domain: int, codes: tuple[int, ...]) -> Tensor:
    return to_tensor(draw_many(list(FONTS)[domain], codes, 32)[..., None])


def fitted_to(pages: dict[int, Tensor]) -> tuple[LatentModel, Alignment | None]:
    """The shipped model without an alignment, and one fitted to images of some of its fonts."""
    model = load_model(find_model("glyphs")).model
    model.alignment = None
    positions = [np.arange(len(pages.get(domain, ()))) for domain in range(model.domains)]

    def images(domain: int, chosen: np.ndarray) -> Tensor:
        return pages[domain][torch.from_numpy(chosen)]

    return model, fit_alignment(model, positions, images, Lpips.load(), nullcontext)


def test_translations_of_new_letters_come_closer_to_the_truth() -> None:
    chosen = split(0)
    names = list(FONTS)
    pages = {domain: letters(domain, chosen.train[names[domain]][:LETTERS]) for domain in (2, 1)}
    model, alignment = fitted_to(pages)
    sources, truths = (letters(domain, chosen.test) for domain in (2, 1))
    styles = model.prior_style(torch.full((len(sources),), 1), len(sources))
    lpips = Lpips.load()
    with torch.no_grad():
        before = lpips.distances(model.translate(sources, styles), truths).mean()
        model.alignment = alignment
        after = lpips.distances(model.translate(sources, styles), truths).mean()
    assert alignment is not None
    assert after < 0.95 * before


def test_domains_without_common_contents_have_none() -> None:
    codes = split(0).train[next(iter(FONTS))][:LETTERS]
    noise = torch.rand(LETTERS, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert fitted_to({0: letters(0, codes), 1: noise})[1] is None


@pytest.mark.parametrize("name", ["a.txt", "there.safetensors"])
def test_the_command_writes_a_new_model_file_only(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.safetensors").write_text("mine")
    with pytest.raises(SystemExit) as left:
        main(["align", "glyphs", "--out", str(tmp_path / name)])
    assert left.value.code == 2
    assert "is no new .safetensors file" in capsys.readouterr().err
    assert (tmp_path / "there.safetensors").read_text() == "mine"
