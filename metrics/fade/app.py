"""The page of this Space: values in, FADE out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("fade.py"))

if __name__ == "__main__":
    demo.launch()
