"""The page of this Space: values in, counterfactual FADE out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("counterfactual_fade.py"))

if __name__ == "__main__":
    demo.launch()
