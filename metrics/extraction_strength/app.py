"""The page of this Space: values in, Extraction Strength out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("extraction_strength.py"))

if __name__ == "__main__":
    demo.launch()
