"""The page of this Space: values in, Verbatim Memorization out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("verbatim_memorization.py"))

if __name__ == "__main__":
    demo.launch()
