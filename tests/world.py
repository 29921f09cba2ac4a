"""The world that tests vary over: small random models of many architectures, precisions, adapters and kinds of noise.

Everything that was found wrong so far lay where one toy Llama never goes. A test that speaks about "a model" runs over these.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import transformers
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import PreTrainedModel


VOCABULARY = 23
_WIDE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
_MODERN = {**_WIDE, "intermediate_size": 48, "num_key_value_heads": 2}
_GEMMA = {**_MODERN, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_VISION = {"num_labels": 4, "num_channels": 3}


@dataclass(frozen=True)
class Architecture:
    """How to make a small model of one kind.

    Attributes:
        config: Name of its configuration class in transformers.
        settings: That make it small.
        kind: "causal_lm", "sequence" (classifier) or "image" (classifier).
        dropout: Names of its settings that switch noise on.
        blocks: Modules that LoRA may take, None: PEFT's own choice of all linear layers.
    """

    config: str
    settings: Mapping[str, object] = field(default_factory=dict)
    kind: str = "causal_lm"
    dropout: tuple[str, ...] = ()
    blocks: str | tuple[str, ...] = "all-linear"

    @property
    def factory(self) -> Callable[..., PreTrainedModel]:
        names = {
            "causal_lm": "AutoModelForCausalLM",
            "sequence": "AutoModelForSequenceClassification",
            "image": "AutoModelForImageClassification",
        }
        return getattr(transformers, names[self.kind]).from_config


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture("LlamaConfig", _MODERN, dropout=("attention_dropout",)),
    "llama_tied": Architecture(
        "LlamaConfig", {**_MODERN, "tie_word_embeddings": True}, dropout=("attention_dropout",)
    ),
    "gpt2": Architecture("GPT2Config", _GPT, dropout=("attn_pdrop", "embd_pdrop", "resid_pdrop"), blocks=("c_attn",)),
    "qwen3": Architecture("Qwen3Config", {**_MODERN, "head_dim": 8}, dropout=("attention_dropout",)),
    # Final and attention soft caps low enough to be felt.
    "gemma2": Architecture(
        "Gemma2Config",
        {**_GEMMA, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0},
        dropout=("attention_dropout",),
    ),
    "gemma3": Architecture("Gemma3TextConfig", _GEMMA, dropout=("attention_dropout",)),
    "mistral": Architecture(
        "MistralConfig", {**_MODERN, "head_dim": 8, "sliding_window": 4}, dropout=("attention_dropout",)
    ),
    "phi3": Architecture(
        "Phi3Config", _MODERN, dropout=("attention_dropout", "embd_pdrop", "resid_pdrop"), blocks=("qkv_proj",)
    ),
    "mixtral": Architecture(
        "MixtralConfig",
        {**_MODERN, "num_local_experts": 3, "num_experts_per_tok": 2},
        dropout=("attention_dropout",),
        blocks=("q_proj", "v_proj"),
    ),
    "mamba": Architecture(
        "MambaConfig",
        {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2},
        blocks=("in_proj", "x_proj"),
    ),
    "gpt_neox": Architecture(
        "GPTNeoXConfig", {**_WIDE, "intermediate_size": 48}, dropout=("attention_dropout", "hidden_dropout")
    ),
    # Its states are four streams wide, in front of the batch, and its layers share what they cache.
    "gemma3n": Architecture(
        "Gemma3nTextConfig",
        {
            **{name: value for name, value in _GEMMA.items() if name != "query_pre_attn_scalar"},
            "num_hidden_layers": 4,
            "num_kv_shared_layers": 2,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "intermediate_size": [48] * 4,
            "activation_sparsity_pattern": [0.0] * 4,
            "laurel_rank": 4,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": VOCABULARY,
        },
    ),
    # Models that scale or cap their logits, or cache in ways of their own.
    "granite": Architecture(
        "GraniteConfig", {**_MODERN, "logits_scaling": 2.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.7}
    ),
    "cohere": Architecture("CohereConfig", {**_MODERN, "logit_scale": 0.5}),
    "vaultgemma": Architecture("VaultGemmaConfig", {**_GEMMA, "final_logit_softcapping": 3.0}),
    "openai_gpt": Architecture("OpenAIGPTConfig", _GPT, blocks=("c_attn",)),
    "rwkv": Architecture(
        "RwkvConfig",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "context_length": 64,
            "attention_hidden_size": 32,
            "intermediate_size": 48,
        },
    ),
    "xlnet": Architecture("XLNetConfig", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}),
    "bloom": Architecture("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, blocks=("query_key_value",)),
    "opt": Architecture(
        "OPTConfig", {**_WIDE, "ffn_dim": 48, "word_embed_proj_dim": 32}, dropout=("dropout", "attention_dropout")
    ),
    # Not language models.
    "bert": Architecture(
        "BertConfig",
        {**_WIDE, "intermediate_size": 48, "num_labels": 4},
        kind="sequence",
        dropout=("hidden_dropout_prob", "attention_probs_dropout_prob"),
        blocks=("query", "value"),
    ),
    "vit": Architecture(
        "ViTConfig",
        {**_VISION, **_WIDE, "intermediate_size": 48, "image_size": 16, "patch_size": 4},
        kind="image",
        dropout=("hidden_dropout_prob", "attention_probs_dropout_prob"),
        blocks=("q_proj", "v_proj"),
    ),
    "resnet": Architecture(
        "ResNetConfig",
        {**_VISION, "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        kind="image",
    ),
}
"""By name; see `names` for a choice of them."""

CORE = ("llama", "llama_tied", "gpt2", "qwen3", "gemma2", "gemma3", "mistral", "phi3", "mixtral", "mamba", "gpt_neox")
"""The causal language models that every number must hold for."""


def names(kind: str | None = None) -> list[str]:
    """Architectures of a kind, or all."""
    return [name for name, architecture in ARCHITECTURES.items() if kind in (None, architecture.kind)]


def build(
    name: str,
    *,
    seed: int = 0,
    vocab_size: int = VOCABULARY,
    dtype: torch.dtype = torch.float32,
    dropout: float = 0.0,
    **overrides: object,
) -> PreTrainedModel:
    """A random model of an architecture, in eval mode; its answers are far from uniform, so that differences show.

    Args:
        name: In `ARCHITECTURES`.
        seed: Of the weights; two seeds give two unrelated models.
        vocab_size: Of a text model. Token 1 begins, 2 ends, 0 pads.
        dtype: Of the weights.
        dropout: Of every noise the architecture knows.
        overrides: Other settings of its configuration.
    """
    architecture = ARCHITECTURES[name]
    settings = {**architecture.settings, **dict.fromkeys(_all_dropout(architecture), 0.0)}
    if architecture.kind != "image":
        settings |= {"vocab_size": vocab_size, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    settings |= dict.fromkeys(architecture.dropout, dropout)
    config = getattr(transformers, architecture.config)(**{**settings, **overrides})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = architecture.factory(config)
        _spread(model)
    return model.to(dtype).eval()


def with_lora(model: PreTrainedModel, name: str, *, seed: int = 0, adapter: str = "default", **options) -> PeftModel:
    """The model with a LoRA adapter that already changes its answers."""
    blocks = ARCHITECTURES[name].blocks
    target = blocks if isinstance(blocks, str) else list(blocks)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": target, **options})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config, adapter_name=adapter)
        with torch.no_grad():
            for parameter_name, parameter in adapted.named_parameters():
                if "lora_" in parameter_name and f".{adapter}." in parameter_name:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
    return adapted.eval()


def with_prompt_tuning(model: PreTrainedModel, *, seed: int = 0, num_virtual_tokens: int = 3) -> PeftModel:
    """The model behind virtual tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=num_virtual_tokens)
        adapted = get_peft_model(model, config)
        with torch.no_grad():
            for parameter in adapted.prompt_encoder.parameters():
                parameter.copy_(torch.randn_like(parameter))
    return adapted.eval()


def _all_dropout(architecture: Architecture) -> tuple[str, ...]:
    """Noise that is on by default in some configurations; tests switch it on by name."""
    known = {
        "OpenAIGPTConfig": ("attn_pdrop", "embd_pdrop", "resid_pdrop"),
        "XLNetConfig": ("dropout",),
        "BloomConfig": ("attention_dropout", "hidden_dropout"),
    }
    return (*architecture.dropout, *known.get(architecture.config, ()))


@torch.no_grad()
def _spread(model: PreTrainedModel) -> None:
    """Weight matrices of a size that makes the outputs differ clearly between inputs and seeds."""
    for name, parameter in model.named_parameters():
        if parameter.dim() >= 2 and not name.endswith("A_log"):
            fan_in = parameter[0].numel()
            parameter.copy_(torch.randn_like(parameter) * (1.5 / fan_in**0.5))
