"""A small page for the Space: features in, representation forgetting out. Models are too large for a demo page and are not loaded here."""

import json

import evaluate
import gradio as gr


ORIGINAL = json.dumps([[0.0, 1.0], [2.0, 0.0], [1.0, 3.0], [4.0, 2.0], [0.0, 5.0]])
REFERENCE = json.dumps([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [2.0, 5.0]])
CANDIDATE = json.dumps([[0.5, 1.0], [2.0, 1.0], [2.0, 3.0], [4.0, 3.0], [1.0, 5.0]])
metric = evaluate.load("representation_forgetting.py")


def compute(candidate: str, reference: str, original: str, space: str) -> str:
    """The metrics as JSON text; errors are shown, not raised."""
    try:
        result = metric.compute(
            candidate_features=json.loads(candidate),
            reference_features=json.loads(reference),
            original_features=json.loads(original) if original.strip() else None,
            space=space,
        )
    except (ValueError, TypeError) as error:
        raise gr.Error(str(error)) from error
    return json.dumps(result, indent=1)


page = gr.Interface(
    fn=compute,
    inputs=[
        gr.Code(CANDIDATE, language="json", label="Features of the unlearned model: one row per example"),
        gr.Code(REFERENCE, language="json", label="Features of the retrained model, rows matched"),
        gr.Code(ORIGINAL, language="json", label="Features of the original model (may be empty)"),
        gr.Dropdown(["auto", "feature", "gram"], value="auto", label="Space"),
    ],
    outputs=gr.Code(language="json", label="Representation forgetting"),
    title="Representation forgetting",
    description="Did the hidden states go where retraining would have taken them? See the README for what the numbers mean.",
    flagging_mode="never",
)

if __name__ == "__main__":
    page.launch()
