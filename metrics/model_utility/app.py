"""The page of this Space: values in, Model Utility out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("model_utility.py"))

if __name__ == "__main__":
    demo.launch()
