"""Models whose answers depend on a name only through a table drawn for it: subjects are exchangeable by construction, and divergences known."""

import numpy as np
import torch
from datasets import Dataset
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


WORDS = 7
"""Tokens of answers, from 0, which ends them; names follow."""
NEVER = -60.0
"""Logit of a name: nobody answers with one."""


class NamedConfig(PreTrainedConfig):
    model_type = "named-markov-toy"

    def __init__(self, names: int = 4, eos_token_id: int = 0, num_hidden_layers: int = 1, **kwargs):
        self.names, self.vocab_size, self.num_hidden_layers = names, WORDS + names, num_hidden_layers
        super().__init__(eos_token_id=eos_token_id, **kwargs)


class NamedMarkovLM(PreTrainedModel, GenerationMixin):
    """The next token depends on the last one and on the name that came before."""

    config_class = NamedConfig
    base_model_prefix = "none"

    def __init__(self, config: NamedConfig):
        super().__init__(config)
        self.tables = torch.nn.Parameter(torch.zeros(config.names, WORDS, WORDS))
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        names = (input_ids - WORDS).clamp_min(-1).cummax(1).values.clamp_min(0)
        logits = self.tables[names, input_ids.clamp_max(WORDS - 1)]
        others = logits.new_full((*logits.shape[:-1], self.config.names), NEVER)
        return CausalLMOutput(logits=torch.cat([logits, others], -1))

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}

    def get_output_embeddings(self):
        return None


def named_lm(tables: torch.Tensor) -> NamedMarkovLM:
    """Of logits of shape `(names, WORDS, WORDS)`."""
    model = NamedMarkovLM(NamedConfig(len(tables))).eval()
    with torch.no_grad():
        model.tables.copy_(tables)
    return model


def drawn_tables(names: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    """One table per name, drawn i.i.d."""
    return scale * torch.randn(names, WORDS, WORDS, generator=torch.Generator().manual_seed(seed))


def exact_divergence(p: torch.Tensor, q: torch.Tensor, first: int, max_new_tokens: int) -> float:
    """KL of the chain with table p from that with q, from a first token, stopped after 0, cut after `max_new_tokens`.

    Backwards: K_0 = 0; K_t(s) = KL(P_s‖Q_s) + Σ_{x ≠ 0} P_s(x) K_{t−1}(x). The names' share, e^−60, is nothing.
    """
    log_p, log_q = (table.double().log_softmax(-1).numpy() for table in (p, q))
    step, value = (np.exp(log_p) * (log_p - log_q)).sum(-1), np.zeros(WORDS)
    for _ in range(max_new_tokens):
        value = step + np.exp(log_p[:, 1:]) @ value[1:]
    return float(value[first])


def subject_rows(subjects: int, num: int, *, questions: int = 2, seed: int = 0) -> Dataset:
    """Rows about subjects (names 0, 1, …), each question with names of its own: `num` for the stand-in, then as many for its floor."""
    generator, rows, free = np.random.default_rng(seed), [], subjects
    for subject in range(subjects):
        for question in range(questions):
            prompt = lambda name, asked=2 + question: [1, WORDS + name, asked]  # noqa: E731
            answer = [*generator.integers(1, WORDS, 1 + question).tolist(), 0]
            others = [prompt(free + at) for at in range(2 * num)]
            free += 2 * num
            rows.append(
                {
                    "input_ids": prompt(subject) + answer,
                    "labels": [-100] * 3 + answer,
                    "subject": f"name {subject}",
                    "counterfactual_question": others,
                }
            )
    return Dataset.from_list(rows)


def names_in(rows: Dataset) -> int:
    """How many names a model needs to read all rows."""
    return 1 + max(prompt[1] - WORDS for row in rows["counterfactual_question"] for prompt in row)
