"""The page of a module's Space. Models are too large for it and are not loaded there; values are."""

import json
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from hf_unlearn.modules._base import SpecModule


def page(module: "SpecModule") -> Any:
    """A gradio interface: one editor for each input of the spec's example, JSON out. What is left empty is not given.

    Args:
        module: As `evaluate.load` gives it.

    Raises:
        ImportError: gradio is not installed.
    """
    import gradio  # only Spaces need it

    spec = module.spec
    meanings = {each.name: each.meaning for each in spec.inputs}

    def compute(*texts: str) -> str:
        """The result as JSON text; errors are shown, not raised."""
        try:
            given = {name: json.loads(text) for name, text in zip(spec.page, texts, strict=True) if text.strip()}
            return json.dumps(module.compute(**given), indent=1, ensure_ascii=False)
        except (ValueError, TypeError) as error:
            raise gradio.Error(str(error)) from error

    return gradio.Interface(
        fn=compute,
        inputs=[
            gradio.Code(json.dumps(value), language="json", label=f"{name}: {meanings[name]}")
            for name, value in spec.page.items()
        ],
        outputs=gradio.Code(language="json", label=f"{spec.title}: {spec.facts.unit}; {spec.facts.direction}"),
        title=spec.title,
        description=f"{spec.description} See the README for what the numbers mean, and what they do not show.",
        flagging_mode="never",
    )
