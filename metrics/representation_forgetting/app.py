"""The page of this Space: values in, Representation Forgetting out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("representation_forgetting.py"))

if __name__ == "__main__":
    demo.launch()
