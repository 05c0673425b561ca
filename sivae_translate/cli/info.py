"""``sivae-translate info``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sivae_translate.cli.common import Device, Dtype, Run
from sivae_translate.utils.extras import missing_package

if TYPE_CHECKING:
    from sivae_translate.inference.translator import Translator


@dataclass(frozen=True)
class Info:
    """Show a model's domains, sizes, parameters, arithmetic, speed here, and facts about its training."""

    run: Run
    device: Device = "auto"
    dtype: Dtype = "auto"


def run(command: Info) -> int:
    """``sivae-translate info``."""
    from sivae_translate.inference.translator import Translator
    from sivae_translate.models.weights import parameter_count
    from sivae_translate.utils.progress import PlainConsole

    translator = Translator.from_pretrained(command.run, device=command.device, dtype=command.dtype)
    model, console = translator.model, PlainConsole()
    console.print(
        f"domains     {', '.join(name or '(no labels)' for name in translator.domains)}", highlight=False
    )
    console.print(
        f"image       {' x '.join(map(str, model.image_shape))} (channels x height x width)", highlight=False
    )
    console.print(
        f"content     {' x '.join(map(str, model.content_shape))}, style {model.style_dim}", highlight=False
    )
    if model.flat:
        latents = " x ".join(map(str, model.view_shape))
        console.print(f"latents     {latents}, of an autoencoder", highlight=False)
    for name, part in model.named_children():
        if part is not model.space or model.flat:
            label = "autoencoder" if part is model.space else name
            console.print(f"  {label:<18}{parameter_count(part):>12,} parameters", highlight=False)
    console.print(f"  {'total':<18}{parameter_count(model):>12,} parameters", highlight=False)
    for name, line in speed(translator).items():
        console.print(f"{name:<12}{line}", highlight=False)
    for name, value in translator.facts.items():
        text = (
            ", ".join(f"{key} {_short(one)}" for key, one in value.items())
            if isinstance(value, dict)
            else value
        )
        console.print(f"{name:<20}{text}", highlight=False)
    return 0


def speed(translator: Translator) -> dict[str, str]:
    """Arithmetic and speed of translating and of training, measured for some seconds."""
    from sivae_translate.inference.speed import measure_speed

    engine = translator.engine
    flops, rates = measure_speed(engine)
    each = ", ".join(f"{rate:,.0f} images/s in batches of {batch}" for batch, rate in rates.items())
    precision = str(engine.dtype).removeprefix("torch.")
    return {
        "here": f"{engine.device}, {precision}",
        "translation": f"{flops / 1e9:.3g} GFLOP per image; {each}",
        "training": _training_speed(translator),
    }


def _training_speed(translator: Translator) -> str:
    """What a step of training takes; the packages for training may not be installed."""
    import torch

    from sivae_translate.utils.devices import autocast

    try:
        from sivae_translate.data.batches import Batch
        from sivae_translate.training.budget import Budget
        from sivae_translate.training.cost import describe, measure_phases
    except ModuleNotFoundError as error:
        if missing_package(error) is None:
            raise
        return "not measured: the extra 'train' is not installed"
    engine, config = translator.engine, translator.config
    images = torch.rand(config.training.batch, *engine.model.view_shape)
    domain = torch.arange(len(images)) * max(1, len(translator.domains)) // len(images)
    batch = Batch(images, domain).to(engine.device)
    phases = measure_phases(engine.model, config, batch, lambda: autocast(engine.device, engine.dtype))
    budget = Budget(config.training, 0)
    return f"batches of {len(images)}; {describe(phases, budget)}"


def _short(value: object) -> str:
    """Format fractions with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
