"""A model's folder for others: the model file, a model card, and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from PIL import Image

from sivae_translate.inference.style import Style
from sivae_translate.models.weights import parameter_count
from sivae_translate.utils import pictures
from sivae_translate.utils.files import write_text
from sivae_translate.utils.tables import markdown_table, number
from sivae_translate.utils.text import markdown_text, printable

if TYPE_CHECKING:
    from sivae_translate.inference.translator import Translator

CARD = "README.md"
SAMPLES = "pictures/samples.png"
GRID = "pictures/grid.png"
SAMPLE_COLUMNS = 6
SHOWN_DOMAINS = 8
METRICS = {
    "lpips": "LPIPS to the truth (to the source where there are no truths)",
    "copy_lpips": "the same of copying the source",
    "gain": "gain (1 - LPIPS / LPIPS of copying)",
    "l1": "L1",
    "ssim": "SSIM",
}
"""The metrics that a card shows, by their names in evaluation.json."""


def write_card_folder(
    translator: Translator, folder: Path, *, license_name: str | None, show_data: bool
) -> None:
    """Write model.safetensors, README.md and pictures/ for a model.

    Args:
        translator: the model.
        folder: where to write; other files in it are left alone.
        license_name: licence of the weights for the card, such as ``mit``; None leaves it out.
        show_data: also show the run's grid.png, which has training images in it.

    Raises:
        OutputError: the folder cannot be written to.
    """
    translator.save(folder / "model.safetensors")
    pictures.save(_samples(translator), folder / SAMPLES)
    run, shown = _run_of(translator), [SAMPLES]
    if show_data and run is not None and (run / "grid.png").is_file():
        with Image.open(run / "grid.png") as picture:
            pictures.save(picture.convert("RGB"), folder / GRID)
        shown.append(GRID)
    write_text(folder / CARD, model_card(translator, shown, license_name))


def model_card(translator: Translator, shown: list[str], license_name: str | None) -> str:
    """A model card in Markdown, from the model's settings, facts and the evaluations of its run.

    Args:
        translator: the model.
        shown: paths of pictures, relative to the card.
        license_name: see `write_card_folder`.
    """
    head = {
        **({"license": license_name} if license_name else {}),
        "library_name": "sivae-translate",
        "pipeline_tag": "image-to-image",
        "tags": ["image-to-image", "unpaired", "soft-introvae"],
    }
    names = ", ".join(map(markdown_text, filter(None, translator.domains))) or "none (one data set)"
    height, width = translator.model.image_shape[1:]
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).strip(),
        "---",
        "",
        "# A model of sivae-translate",
        "",
        f"It translates images of {width} x {height} px between domains, learned without pairs: {names}.",
        "It is a Soft-IntroVAE with separate codes for content and style.",
        "",
        *(line for path in shown for line in (f"![{Path(path).stem}]({path})", "")),
        "`samples` shows draws of the model, one a column, in the mean style of each domain.",
        *_use(translator),
        *_limits(translator),
        *_data(translator),
        *_metrics(translator),
        *_training(translator),
    ]
    return "\n".join(lines) + "\n"


def _samples(translator: Translator) -> Image.Image:
    """Draws of the model itself, so that no image of anybody's is shown: a row per domain."""
    if not translator.model.translates:
        rows, names = [translator.sample(None, SAMPLE_COLUMNS)], [""]
    elif not translator.model.domains:
        rows, names = [translator.sample(None, SAMPLE_COLUMNS)], ["drawn"]
    else:
        names = list(translator.domains[:SHOWN_DOMAINS])
        drawn = translator.sample(translator.domains[0], SAMPLE_COLUMNS)
        rows = [translator([*drawn], Style.domain(name)) for name in names]
    side = max(96, translator.image_size)
    cells: list[list[Image.Image | None]] = [list(row) for row in rows]
    return pictures.grid(cells, row_names=names, cell=side)


def _use(translator: Translator) -> list[str]:
    """How to use the model, and for what."""
    target = printable(translator.domains[-1])
    call = f'translator("image.png", {json.dumps(target)})'
    return [
        "",
        "## Use",
        "",
        "```python",
        "from sivae_translate import Translator",
        "",
        'translator = Translator.from_pretrained("USER/NAME")  # or the folder of these files',
        f'{call}.save("translated.png")' if translator.model.translates else "translator.sample()",
        "```",
        "",
        "Intended for images like those it was trained on: to translate them into another of its domains or",
        "into the style of a reference image, and to compare such translations in research.",
    ]


def _limits(translator: Translator) -> list[str]:
    """What the model is not for."""
    check = (
        '`translator(image, style, check="warn")` warns of images unlike the training data.'
        if translator.calibration
        else "It was stored without validation images, so it cannot warn of images unlike its training data."
    )
    return [
        "",
        "## Limits",
        "",
        "- A translation is a picture that a model made. It is no evidence of what a place, thing or person",
        "  looks like, and details may be invented or lost.",
        f"- Translations of images unlike the training data mean nothing. {check}",
        f"- It computes at {translator.image_size} px; what is smaller than its pixels is not translated.",
        "- Its errors and biases are those of its training data, whose rights and consents are its owner's",
        "  responsibility.",
    ]


def _data(translator: Translator) -> list[str]:
    """What it was trained on, as far as a model file knows."""
    data = translator.config.data
    source = "folders of images" if data.name == "folder" else f"the data set `{data.name}`"
    count = translator.facts.get("training_images")
    images = f"{count} training images" if count else "an unknown number of training images"
    cut = "cut to a centred square" if data.fit == "cover" else f"made square (`{data.fit}`)"
    return [
        "",
        "## Data",
        "",
        f"{source[0].upper()}{source[1:]}, {images} in {len(translator.domains)} domains, {cut}.",
    ]


def _metrics(translator: Translator) -> list[str]:
    """The evaluations of this model that lie in its run folder, with 95 % intervals."""
    tables = []
    for style, evaluation in _evaluations(translator).items():
        overall = evaluation["overall"]
        rows = [
            [title, number(overall[name]["mean"]), _interval(overall[name])]
            for name, title in METRICS.items()
            if name in overall
        ]
        heading = f"On test images, {style} style:"
        tables += ["", heading, "", *markdown_table(["metric", "mean", "95 % interval"], rows)]
    return ["", "## Metrics", *(tables or ["", "Not measured: `sivae-translate evaluate` does that."])]


def _interval(value: Mapping[str, float]) -> str:
    return f"{number(value['low'])} to {number(value['high'])}"


def _training(translator: Translator) -> list[str]:
    """How long it was trained, where and from what."""
    facts, config = translator.facts, translator.config
    rows = [
        [name, _fact(facts[name])]
        for name in ("steps", "minutes", "device", "precision", "seed", "torch", "started_from", "validation")
        if facts.get(name) is not None
    ]
    rows += [
        ["objective", config.objective.name],
        ["parameters", f"{parameter_count(translator.model):,}"],
    ]
    return ["", "## Training", "", *markdown_table(["fact", "value"], rows)]


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(one)}" for key, one in value.items() if not isinstance(one, dict))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _run_of(translator: Translator) -> Path | None:
    """The run folder of a finished run's model."""
    origin = translator.origin
    return origin.parent if origin is not None and origin.name == "model.safetensors" else None


def _evaluations(translator: Translator) -> dict[str, Any]:
    """Evaluations by style; those of earlier weights are left out."""
    run = _run_of(translator)
    found: dict[str, Any] = {}
    for path in sorted(run.glob("evaluation/*/evaluation.json")) if run else ():
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            if read["about"]["facts"] == json.loads(json.dumps(translator.facts)):
                found[markdown_text(str(read["style"]))] = {"overall": dict(read["overall"])}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a card does not fail for a damaged report
    return found
