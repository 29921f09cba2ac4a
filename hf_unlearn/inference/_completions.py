"""What a model generated: token ids, never text that would have to be tokenized again."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Completions:
    """Completions sampled from one model, ordered by prompt, then by sample.

    Attributes:
        prompts: Token ids of each prompt.
        token_ids: int64, shape `(completions, longest)`, on the CPU; 0 after the end.
        mask: Which of them were generated, the end token included; bool, same shape.
        prompt_index: Which prompt each completion continues; int64, shape `(completions,)`.
        sample_index: Which sample of its prompt it is; int64, shape `(completions,)`.
        truncated: Which were cut at `max_new_tokens` before their end; bool, shape `(completions,)`.
        log_probs: Of each token when it was drawn, nats, float32, shape of `token_ids`; None where nobody knows them. What is sampled
            must be what is scored, and scoring compares.

    Raises:
        ValueError: Shapes that do not belong together, a mask with holes, or a completion without tokens.
    """

    prompts: tuple[tuple[int, ...], ...]
    token_ids: torch.Tensor
    mask: torch.Tensor
    prompt_index: torch.Tensor
    sample_index: torch.Tensor
    truncated: torch.Tensor
    log_probs: torch.Tensor | None = None

    def __post_init__(self) -> None:
        rows = self.token_ids.shape[0]
        if self.mask.shape != self.token_ids.shape or any(
            column.shape != (rows,) for column in (self.prompt_index, self.sample_index, self.truncated)
        ):
            raise ValueError("token_ids and mask must be (completions, longest); the other columns (completions,).")
        if self.log_probs is not None and self.log_probs.shape != self.token_ids.shape:
            raise ValueError("log_probs must be (completions, longest) like token_ids.")
        lengths = self.num_tokens
        if rows and int(lengths.min()) < 1:
            raise ValueError("a completion has no generated token; the end token counts as one.")
        if not torch.equal(self.mask, torch.arange(self.mask.shape[1]) < lengths[:, None]):
            raise ValueError("the mask must cover the first tokens of each completion without holes.")

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    @property
    def num_tokens(self) -> torch.Tensor:
        """Generated tokens of each completion; int64, shape `(completions,)`."""
        return self.mask.sum(1)

    def answer(self, row: int) -> list[int]:
        """Generated ids of one completion, the end token included."""
        return self.token_ids[row, self.mask[row]].tolist()
