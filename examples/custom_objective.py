"""An objective of your own: four members, nothing to register.   python examples/custom_objective.py --smoke"""

import sys

import torch

from hf_unlearn import unlearn
from hf_unlearn.data import load_pocket


class Cap:
    """Push each answer token down until its probability is below a cap, and then leave it alone."""

    name, reduction, needs = "cap", "token", ()

    def __init__(self, cap: float):
        self.log_cap = torch.tensor(cap).log()

    def __call__(self, batch):
        return (batch.token_log_probs - self.log_cap).clamp_min(0) * batch.answer_mask


pocket = load_pocket("nano" if "--smoke" in sys.argv else "small", progress=False)
options = {"processing_class": pocket.tokenizer, "learning_rate": 1e-3, "output_dir": "cap-unlearned"}
result = unlearn(pocket.original(), forget=pocket.forget_request, retain=pocket.retain, objective=Cap(0.1), **options)
print("last forget_loss:", [log["forget_loss"] for log in result.log_history if "forget_loss" in log][-1])
