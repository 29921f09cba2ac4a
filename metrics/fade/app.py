"""A small page for the Space: log-probabilities in, FADE out. Models are too large for a demo page and are not loaded here."""

import json

import evaluate
import gradio as gr


EXAMPLE = json.dumps({"log_prob_own": [-1.0, -2.0], "log_prob_other": [-1.5, -2.5], "num_tokens": [3, 5]}, indent=1)
fade = evaluate.load("fade.py")


def compute(from_reference: str, from_candidate: str) -> str:
    """FADE as JSON text; errors are shown, not raised."""
    try:
        result = fade.compute(from_reference=json.loads(from_reference), from_candidate=json.loads(from_candidate))
    except (ValueError, TypeError) as error:
        raise gr.Error(str(error)) from error
    return json.dumps(result, indent=1)


page = gr.Interface(
    fn=compute,
    inputs=[
        gr.Code(EXAMPLE, language="json", label="Completions of the reference: log-probabilities under both models"),
        gr.Code(EXAMPLE, language="json", label="Completions of the candidate"),
    ],
    outputs=gr.Code(language="json", label="FADE, nats per sequence (0 = equal, lower is better)"),
    title="FADE",
    description="Is an unlearned model the one that retraining would have given? See the README for what the numbers mean.",
    flagging_mode="never",
)

if __name__ == "__main__":
    page.launch()
