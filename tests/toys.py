"""Models whose distributions are known exactly, and tiny real ones."""

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers.models import BPE, Unigram, WordLevel
from transformers import (
    GenerationMixin,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import CausalLMOutput


class MarkovConfig(PreTrainedConfig):
    model_type = "markov-toy"

    def __init__(self, vocab_size: int = 8, eos_token_id: int = 0, num_hidden_layers: int = 1, **kwargs):
        self.vocab_size = vocab_size
        self.num_hidden_layers = num_hidden_layers
        super().__init__(eos_token_id=eos_token_id, **kwargs)


class MarkovLM(PreTrainedModel, GenerationMixin):
    """The next token depends on the last one only; it runs through the real `generate` and the real scorer."""

    config_class = MarkovConfig
    base_model_prefix = "none"

    def __init__(self, config: MarkovConfig):
        super().__init__(config)
        self.transition_logits = torch.nn.Parameter(torch.zeros(config.vocab_size, config.vocab_size))
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        return CausalLMOutput(logits=self.transition_logits[input_ids])

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}

    def get_output_embeddings(self):
        return None


def markov_lm(seed: int, *, vocab_size: int = 8, near: MarkovLM | None = None, scale: float = 1.0) -> MarkovLM:
    """A random chain; `near` another one, `scale` away from it."""
    model = MarkovLM(MarkovConfig(vocab_size=vocab_size)).eval()
    noise = torch.randn(vocab_size, vocab_size, generator=torch.Generator().manual_seed(seed)) * scale
    start = torch.zeros_like(noise) if near is None else near.transition_logits.detach()
    with torch.no_grad():
        model.transition_logits.copy_(start + noise)
    return model


def exact_divergence(p: MarkovLM, q: MarkovLM, first: int, max_new_tokens: int) -> float:
    """KL(p‖q) of the process that starts at `first`, stops after token 0 and is cut after `max_new_tokens`.

    Backwards: K_0 = 0; K_t(s) = KL(P_s‖Q_s) + Σ_{x ≠ 0} P_s(x) K_{t−1}(x).
    """
    log_p = p.transition_logits.detach().double().log_softmax(-1).numpy()
    log_q = q.transition_logits.detach().double().log_softmax(-1).numpy()
    step = (np.exp(log_p) * (log_p - log_q)).sum(-1)
    value = np.zeros(len(step))
    for _ in range(max_new_tokens):
        going_on = value.copy()
        going_on[0] = 0.0
        value = step + np.exp(log_p) @ going_on
    return float(value[first])


def tiny_llama(
    seed: int = 0, *, vocab_size: int = 97, tie_word_embeddings: bool = False, **overrides
) -> LlamaForCausalLM:
    """A random Llama of a few thousand weights."""
    settings = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": tie_word_embeddings,
        **overrides,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**settings))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.0)  # far enough from uniform that differences show
    return model.eval()


def word_tokenizer(*words: str) -> PreTrainedTokenizerFast:
    """A tokenizer that knows these words, numbered from 1."""
    vocabulary = {word: index for index, word in enumerate(("<unk>", *words))}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token="<unk>")), unk_token="<unk>"
    )


QUESTIONS_WITH_CHOICES = [
    {"question": " What is it? ", "choices": ["a cat", "a dog", "ein Vögelchen"], "answer": 2},
    {"question": "Yes?", "choices": ["no", "yes"], "answer": 1},
]
CHOICE_TEXTS = (
    "Answer: A",
    "Answer: B",
    "Answer: C",
    "Answer: D",
    "What is it? a cat a dog ein Vögelchen",
    "Question: Yes? no yes",
    "A. B. C.",
) * 5


def byte_level(*texts: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE without a start token, as GPT-2 has it, merged on the texts."""
    found = Tokenizer(BPE())
    found.pre_tokenizer, found.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>", "</s>"], show_progress=False, initial_alphabet=alphabet
    )
    found.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=found, bos_token="<s>", eos_token="</s>")


def marked_words(*texts: str) -> PreTrainedTokenizerFast:
    """As SentencePiece has it: a mark before every word and one before the text, and a start token."""
    found = Tokenizer(Unigram())
    found.pre_tokenizer, found.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<s>", "</s>", "<unk>"]
    found.train_from_iterator(
        texts, trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    found.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=found, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
