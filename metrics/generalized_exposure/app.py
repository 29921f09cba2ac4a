"""The page of this Space: values in, Generalized Exposure out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("generalized_exposure.py"))

if __name__ == "__main__":
    demo.launch()
