"""Between pictures and tensors: exact values, both ways."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from sivae_translate.data.domains import ArrayImages
from sivae_translate.data.tensors import read_batch, to_pil, to_tensor
from sivae_translate.utils.errors import DataError, InputError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_to_tensor_scales_and_moves_the_channels() -> None:
    arrays = noise(2, 3, 5, 3)
    tensor = to_tensor(arrays)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(
        tensor.numpy(), arrays.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    )
    assert torch.equal(tensor, to_tensor(list(arrays)))


def test_to_tensor_takes_read_only_and_reversed_arrays() -> None:
    arrays = noise(2, 4, 4, 1)
    frozen = arrays[::-1, :, ::-1]
    frozen.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(to_tensor(frozen)[0, 0].numpy() * 255, arrays[1, :, ::-1, 0], atol=1e-4)


@pytest.mark.parametrize("arrays", [np.zeros((2, 4, 4, 3)), noise(4, 4, 3), [noise(4, 4, 3), noise(4, 5, 3)]])
def test_to_tensor_refuses_other_batches(arrays: Any) -> None:
    with pytest.raises(InputError, match="batch"):
        to_tensor(arrays)


@pytest.mark.parametrize("channels", [1, 3])
def test_to_pil_undoes_to_tensor(channels: int) -> None:
    arrays = noise(1, 5, 4, channels)
    image = to_pil(to_tensor(arrays)[0])
    assert image.mode == {1: "L", 3: "RGB"}[channels]
    np.testing.assert_array_equal(np.asarray(image).reshape(5, 4, channels), arrays[0])


def test_to_pil_rounds_and_clamps() -> None:
    values = torch.tensor([[[-0.3, 0.0, 0.6 / 255, 100.4 / 255, 100.6 / 255, 1.0, 1.7]]], requires_grad=True)
    assert np.asarray(to_pil(values)).tolist() == [[0, 0, 1, 100, 101, 255, 255]]


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(1, 3, 4, 4),
        torch.zeros(2, 4, 4),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
        torch.full((1, 2, 2), torch.nan),
    ],
)
def test_to_pil_refuses_what_is_no_image(image: torch.Tensor) -> None:
    with pytest.raises(InputError):
        to_pil(image)


def test_a_batch_leaves_out_what_cannot_be_read() -> None:
    class Source(ArrayImages):
        def __getitem__(self, index: int) -> np.ndarray:
            if index % 2:
                raise DataError(f"{index} is broken", remedy="")
            return super().__getitem__(index)

    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    problems: list[str] = []
    batch = read_batch(Source(pixels), [4, 1, 0, 3], (3, 4, 6), problems.extend)
    torch.testing.assert_close(batch, to_tensor(pixels[[4, 0]]))
    assert problems == ["1 is broken", "3 is broken"]
    assert read_batch(Source(pixels), [1], (3, 4, 6), problems.extend).shape == (0, 3, 4, 6)
