"""The page of this Space: values in, PrivLeak out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("privleak.py"))

if __name__ == "__main__":
    demo.launch()
