"""The page of this Space: values in, Forget Quality out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("forget_quality.py"))

if __name__ == "__main__":
    demo.launch()
