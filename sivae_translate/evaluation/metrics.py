"""Image metrics: pure functions of tensors that return one number per image."""

from __future__ import annotations

from torch import Tensor

from sivae_translate.models.lpips import Lpips
from sivae_translate.utils.errors import InputError

SSIM_WINDOW = 11
PSNR_CEILING = 100.0
"""In dB. The PSNR of equal images is infinite, and a single one would make every mean infinite."""


def _check_pair(a: Tensor, b: Tensor) -> None:
    if a.ndim != 4 or a.shape != b.shape:
        what = f"cannot compare images of shape {tuple(a.shape)} with {tuple(b.shape)}"
        raise InputError(what, remedy="pass two batches (B, C, H, W) of the same shape")
    if not (a.is_floating_point() and b.is_floating_point()):
        raise InputError(
            f"cannot compare images of {a.dtype} and {b.dtype}",
            remedy="pass floats in [0, 1]: divide bytes by 255",
        )


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference.

    Args:
        a: (B, C, H, W) in [0, 1].
        b: the same.

    Returns:
        (B,) float32 in [0, 1].

    Raises:
        InputError: the shapes differ, or the images are not floats.

    >>> import torch
    >>> l1(torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.25))
    tensor([0.2500, 0.2500])
    """
    _check_pair(a, b)
    return (a.float() - b.float()).abs().flatten(1).mean(1)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    r"""Peak signal-to-noise ratio, :math:`-10 \log_{10} \mathrm{MSE}`, at most `PSNR_CEILING`.

    Args:
        a: (B, C, H, W) in [0, 1].
        b: the same.

    Returns:
        (B,) float32 in dB.

    Raises:
        InputError: the shapes differ, or the images are not floats.

    >>> import torch
    >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1))
    tensor([20.])
    """
    _check_pair(a, b)
    error = (a.float() - b.float()).square().flatten(1).mean(1)
    return -10 * error.clamp_min(10 ** (-PSNR_CEILING / 10)).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), averaged over pixels and channels.

    The window is Gaussian with 11 pixels and sigma 1.5. Only windows inside the image count, so nothing is
    padded and the outer 5 pixels are not window centres.

    Args:
        a: (B, C, H, W) in [0, 1], sides of 11 or more.
        b: the same.

    Returns:
        (B,) float32, at most 1; 1 for equal images.

    Raises:
        InputError: the shapes differ, the images are not floats, or they are smaller than the window.
    """
    import kornia.metrics

    _check_pair(a, b)
    if min(a.shape[2:]) < SSIM_WINDOW:
        what = f"SSIM needs {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got {a.shape[2]} x {a.shape[3]}"
        raise InputError(what, remedy="resize the images")
    # kornia uses sigma 1.5 for every window; with its eps, equal black images would score below 1.
    similarity = kornia.metrics.ssim(a.float(), b.float(), SSIM_WINDOW, max_val=1.0, eps=0.0, padding="valid")
    return similarity.flatten(1).mean(1)


def diversity(images: Tensor, lpips: Lpips) -> Tensor:
    """Mean LPIPS between images of the same content in different styles; 0 if the style has no effect.

    Args:
        images: (K, B, C, H, W) in [0, 1]: K styles of each of B contents.
        lpips: the distance.

    Returns:
        (B,) float32.

    Raises:
        InputError: fewer than two styles, or images that LPIPS does not support.
    """
    if images.ndim != 5 or len(images) < 2:
        what = f"cannot measure the diversity of images of shape {tuple(images.shape)}"
        raise InputError(what, remedy="pass (K, B, C, H, W) with at least two styles K")
    return lpips.mean_of_pairs(images)
