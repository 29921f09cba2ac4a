"""The pocket benchmark: a whole unlearning problem that fits in a test, with the models to compare against.

Fictional people (and a few ships) with facts that no question gives away. Knows the splits, the sizes and which role was
trained on what; the rows, the tokenizer and the training live in their own modules. Does not know unlearning or metrics.
"""

from dataclasses import dataclass

from datasets import Dataset, concatenate_datasets
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from hf_unlearn.data._pocket_models import Recipe, Schedule, Training, trained_model
from hf_unlearn.data._pocket_rows import Population, background_rows, pocket_rows
from hf_unlearn.data._pocket_tokenizer import pocket_tokenizer


@dataclass(frozen=True)
class _Size:
    population: Population
    recipe: Recipe


# The base only has to learn how people are told about; names and facts are learnt in the tuning. Its rate is low, or the order of
# the data decides as much as the data, and the floor rises.
_SIZES = {
    "nano": _Size(
        Population(retain=8, forget=3, holdout=3, ships=3, near_duplicates=1, background=24),
        Recipe(hidden_size=64, num_layers=2, base=Schedule(10, 3e-3), tuning=Schedule(34, 2.5e-3)),
    ),
    "small": _Size(
        Population(retain=34, forget=6, holdout=6, ships=4, near_duplicates=2, background=60),
        Recipe(hidden_size=128, num_layers=2, base=Schedule(7, 3e-3), tuning=Schedule(18, 1.2e-3)),
    ),
}
POCKET_SIZES = tuple(_SIZES)
"""The sizes `load_pocket` knows: "nano" trains in seconds (tests), "small" in tens of seconds (demo)."""

# Far enough from any seed a person would type, so that none of these is another benchmark's reference.
_TWIN_OFFSET = 1_000_003


@dataclass(frozen=True)
class Pocket:
    """One benchmark: its data, its tokenizer, and its models on demand.

    Attributes:
        size: "nano" or "small".
        seed: Decides people, facts, the base's initial weights and data order.
        retain: What every model but the base was trained on; holds near-duplicates of some forget people (same `cluster_id`).
        forget: People that only `original` has seen.
        forget_ood: Ships that only `original` has seen; nothing in `retain` looks like them.
        holdout: People that no model has seen.
        tokenizer: Speaks for all models.
        progress: Show the Trainer's bar when a model must be trained.
    """

    size: str
    seed: int
    retain: Dataset
    forget: Dataset
    forget_ood: Dataset
    holdout: Dataset
    tokenizer: PreTrainedTokenizerFast
    progress: bool = False

    @property
    def forget_request(self) -> Dataset:
        """All that has to go: what `original` saw and `reference` did not."""
        return concatenate_datasets([self.forget, self.forget_ood])

    @property
    def background(self) -> Dataset:
        """What `base` was trained on: people in no split, whose names are no recombination of first and last names."""
        return background_rows(_SIZES[self.size].population, self.seed)

    def base(self) -> LlamaForCausalLM:
        """The model that all others but the stranger are fine-tuned from: it knows how such people are asked about, and none of them."""
        return self._trained(self._base(self.seed))

    def original(self) -> LlamaForCausalLM:
        """The model before unlearning: `base`, fine-tuned on `retain` and `forget_request`."""
        return self._tuned("original", concatenate_datasets([self.retain, self.forget_request]), self.seed)

    def reference(self) -> LlamaForCausalLM:
        """The gold standard: the same base, recipe and seed as `original`, on `retain` only."""
        return self._tuned("reference", self.retain, self.seed)

    def twin(self) -> LlamaForCausalLM:
        """Another reference from the same base, in another data order."""
        return self._tuned("twin", self.retain, self.seed, order_seed=self.seed + _TWIN_OFFSET)

    def stranger(self) -> LlamaForCausalLM:
        """A reference of another base (other initial weights, another data order): coordinates of its hidden states mean something else."""
        return self._tuned("stranger", self.retain, self.seed + _TWIN_OFFSET)

    def _base(self, seed: int) -> Training:
        return Training("base", self.background, self._recipe.base, order_seed=seed, start=seed)

    def _tuned(self, role: str, rows: Dataset, base_seed: int, order_seed: int | None = None) -> LlamaForCausalLM:
        order_seed = base_seed if order_seed is None else order_seed
        return self._trained(Training(role, rows, self._recipe.tuning, order_seed, start=self._base(base_seed)))

    def _trained(self, training: Training) -> LlamaForCausalLM:
        return trained_model(training, self._recipe, self.tokenizer, progress=self.progress)

    @property
    def _recipe(self) -> Recipe:
        return _SIZES[self.size].recipe


def load_pocket(size: str = "small", *, seed: int = 0, progress: bool = False) -> Pocket:
    """Draw the benchmark; models are trained when first asked for and kept on disk.

    Args:
        size: "nano" (11 people, each model a few seconds on one core) or "small" (40 people, tens of seconds).
        seed: A whole number; the same seed gives the same rows on every machine.
        progress: Show the Trainer's bar when a model must be trained.

    Returns:
        The data and tokenizer, with `base()`, `original()`, `reference()`, `twin()` and `stranger()`.

    Raises:
        ValueError: Unknown size.

    Example:
        >>> pocket = load_pocket("nano")
        >>> len(pocket.forget), pocket.forget.column_names[:2]
        (18, ['question', 'answer'])
    """
    if size not in _SIZES:
        raise ValueError(f"Unknown pocket size {size!r}. Choose one of: {', '.join(POCKET_SIZES)}.")
    rows = pocket_rows(_SIZES[size].population, seed)
    return Pocket(size=size, seed=seed, **rows, tokenizer=pocket_tokenizer(), progress=progress)
