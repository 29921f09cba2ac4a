"""A training loop of your own, with Accelerate and without a Trainer: two lines more, and it unlearns.

python examples/plain_loop.py --smoke
"""

import sys

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from hf_unlearn import NPO
from hf_unlearn.data import AnswerCollator, load_pocket, pad_token_id, tokenize_examples
from hf_unlearn.training import UnlearningLoop


smoke = "--smoke" in sys.argv
pocket = load_pocket("nano" if smoke else "small", progress=False)
model, tokenizer = pocket.original(), pocket.tokenizer
rows = tokenize_examples(pocket.retain, tokenizer)
torch.manual_seed(0)
loader = DataLoader(rows, batch_size=8, shuffle=True, collate_fn=AnswerCollator(pad_token_id(tokenizer)))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

accelerator = Accelerator(gradient_accumulation_steps=2)
unlearning = UnlearningLoop(  # before prepare: what the original is, is decided here
    model,
    accelerator,
    forget_dataset=pocket.forget_request,
    objective=NPO(beta=0.5),
    retain_term="kl",
    processing_class=tokenizer,
    forget_batch_size=16,
)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
model.train()
for epoch in range(1 if smoke else 5):
    for batch in loader:
        with accelerator.accumulate(model):
            unlearning.backward(model, unlearning.retain_loss(model, batch))  # in place of accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    accelerator.print(f"epoch {epoch + 1}, step {unlearning.step}:", unlearning.logged())
unlearning.close()
