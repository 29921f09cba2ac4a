"""The page of this Space: values in, ROUGE-L Recall out."""

import evaluate

from hf_unlearn.modules import page


demo = page(evaluate.load("rouge_l_recall.py"))

if __name__ == "__main__":
    demo.launch()
