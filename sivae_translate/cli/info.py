"""``sivae-translate info``."""

from __future__ import annotations

from dataclasses import dataclass

from sivae_translate.cli.common import Run


@dataclass(frozen=True)
class Info:
    """Show a model's domains, sizes, parameters, and facts about its training."""

    run: Run


def run(command: Info) -> int:
    """``sivae-translate info``."""
    from sivae_translate.inference.translator import Translator
    from sivae_translate.models.weights import parameter_count
    from sivae_translate.utils.progress import PlainConsole

    translator = Translator.from_pretrained(command.run, device="cpu")
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
    for name, part in model.named_children():
        console.print(f"  {name:<18}{parameter_count(part):>12,} parameters", highlight=False)
    console.print(f"  {'total':<18}{parameter_count(model):>12,} parameters", highlight=False)
    for name, value in translator.facts.items():
        text = (
            ", ".join(f"{key} {_short(one)}" for key, one in value.items())
            if isinstance(value, dict)
            else value
        )
        console.print(f"{name:<20}{text}", highlight=False)
    return 0


def _short(value: object) -> str:
    """Format fractions with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
