"""The page of this Space: values in, Truth Ratio out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("truth_ratio.py"))

if __name__ == "__main__":
    demo.launch()
