"""Which images the check is calibrated on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sivae_translate.data.splits import Split
from sivae_translate.models.typicality import look
from sivae_translate.training import calibrating
from sivae_translate.training.calibrating import calibrate, choose


def splits(*sizes: tuple[int, int]) -> list[Split]:
    """Training images from 0, validation images from 10,000."""
    return [Split(np.arange(train), 10_000 + np.arange(validation)) for train, validation in sizes]


def numbered(some: list[Split]) -> list[tuple[str, ...]]:
    """Names without folders, for all positions of `splits`."""
    return [tuple(map(str, range(10_100)))] * len(some)


def places(some: calibrating.Positions) -> set[tuple[int, int]]:
    return {(domain, int(position)) for domain, positions in some for position in positions}


def test_few_domains_give_as_many_images_each_and_validation_images_are_ranked_first() -> None:
    some = splits((3000, 64), (700, 20))
    chosen = choose(some, numbered(some))
    assert [len(positions) for _, positions in chosen.fitted] == [512, 360]
    assert [len(positions) for _, positions in chosen.ranked] == [512, 360]
    assert {10_000, 10_063} <= set(chosen.ranked[0][1].tolist())
    assert not places(chosen.fitted) & places(chosen.ranked)
    assert max(max(positions) for _, positions in chosen.fitted) < 10_000


def test_many_domains_are_fitted_to_one_half_of_them_and_ranked_among_the_other() -> None:
    some = splits(*[(94, 2)] * 163)
    chosen = choose(some, numbered(some))
    fitted, ranked = ({domain for domain, _ in some} for some in (chosen.fitted, chosen.ranked))
    assert (len(fitted), len(ranked), len(fitted | ranked)) == (81, 82, 163)
    assert {len(positions) for _, positions in chosen.fitted} == {13}  # 81 x 13 is the first above 1,024
    assert {len(positions) for _, positions in chosen.ranked} == {13}
    assert choose(some, numbered(some)).fitted[5][0] == chosen.fitted[5][0]
    fewer = choose(some[:19], numbered(some[:19]))
    assert {domain for domain, _ in fewer.fitted} == {domain for domain, _ in fewer.ranked} == set(range(19))


def test_the_sub_folders_of_a_domain_are_series() -> None:
    domains = [Split(np.arange(0, 200, 2), np.arange(1, 200, 2)), Split(np.arange(150), np.arange(0))]
    names = [tuple(f"walk {place // 10}/{place}.png" for place in range(200)), tuple(map(str, range(150)))]
    chosen = choose(domains, names)  # 20 walks, and another domain

    def walks(some: calibrating.Positions) -> set[tuple[int, str]]:
        return {(domain, names[domain][place].rpartition("/")[0]) for domain, place in places(some)}

    assert len(walks(chosen.fitted)) == 10
    assert len(walks(chosen.ranked)) == 11
    assert not walks(chosen.fitted) & walks(chosen.ranked)
    together = choose(domains, [tuple(map(str, range(200)))] * 2)
    assert len(together.fitted) == len(together.ranked) == 2


@pytest.mark.parametrize("sizes", [[(1, 1)], [(3, 0)], [(0, 5)], [(2, 1), (0, 0)]])
def test_a_handful_of_images_is_calibrated_or_not_without_an_error(sizes: list[tuple[int, int]]) -> None:
    some = splits(*sizes)
    chosen = choose(some, numbered(some))
    assert not places(chosen.fitted) & places(chosen.ranked)
    calibration = calibrate(some, numbered(some), lambda domain, at: torch.rand(len(at), 3, 32, 32))
    few = len(places(chosen.fitted)) < 2 or not places(chosen.ranked)
    assert (calibration is None) == few


def tinted(domain: int, positions: np.ndarray) -> Tensor:
    """Images of noise; those of a domain share a colour and a contrast."""
    own = np.random.default_rng(domain)
    tint, contrast = own.uniform(0.2, 0.8, (3, 1, 1)), own.uniform(0.05, 0.2)
    noise = [np.random.default_rng((domain, int(place))).normal(size=(3, 32, 32)) for place in positions]
    return torch.from_numpy(np.clip(tint + contrast * np.array(noise).reshape(-1, 3, 32, 32), 0, 1)).float()


def test_images_of_new_domains_are_flagged_as_rarely_as_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "FITTED", 240)
    monkeypatch.setattr(calibrating, "RANKED", 240)
    new = look(torch.cat([tinted(domain, np.arange(3)) for domain in range(500, 600)]))
    some = splits(*[(9, 1)] * 120)
    calibration = calibrate(some, numbered(some), tinted)
    assert calibration is not None
    flagged = np.mean([verdict.percentile >= 90 for verdict in calibration.verdicts(new)])
    assert flagged == pytest.approx(0.1, abs=0.06)
