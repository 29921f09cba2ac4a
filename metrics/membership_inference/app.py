"""The page of this Space: values in, Membership Inference out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("membership_inference.py"))

if __name__ == "__main__":
    demo.launch()
