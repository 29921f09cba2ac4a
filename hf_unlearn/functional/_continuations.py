"""How answers go on after the same words, in two sets; and a distribution without what only the one set says."""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch


class Continuations:
    """Counts of next tokens after the last tokens of an answer, in forget answers and in retained ones.

    A model asked about somebody it does not know answers with what it knows of others, the people to be forgotten included. Their share of
    an answer's next token v after the words c is estimated by how often each set goes on like that, with α a pseudo-count of "neither":

        share(v | c) = F(c, v) / (F(c, v) + R(c, v) + α)

    and what is left, p(v | c)·(1 − share), is scaled up to a distribution again.

    Args:
        forget: Token ids of the answers to be forgotten, each with its end.
        retain: Of the answers that stay.
        context: How many tokens back the words c reach; 0: to the beginning of the answer.
        pseudo_count: α, above 0.
        retain_scale: By what counts of retained answers are multiplied: how many there are for each that was read.

    Example:
        After "in" (1) the forget answer goes on with 2, two retained ones with 3. α = 1: of ½, ½ remain ½·½ and ½·1.

        >>> continuations = Continuations([[1, 2]], [[1, 3], [1, 3]], context=1, pseudo_count=1.0)
        >>> halves = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]])
        >>> continuations.cleansed(halves, [1, 2])[1].tolist()
        [0.0, 0.0, 0.3333333432674408, 0.6666666865348816]
    """

    def __init__(
        self,
        forget: Iterable[Sequence[int]],
        retain: Iterable[Sequence[int]],
        *,
        context: int = 0,
        pseudo_count: float = 0.1,
        retain_scale: float = 1.0,
    ):
        self.context, self.pseudo_count = context, pseudo_count
        gone: dict[tuple[int, ...], Counter[int]] = {}
        kept: dict[tuple[int, ...], Counter[int]] = {}
        for answers, counts, wanted in ((forget, gone, None), (retain, kept, gone)):
            for answer in answers:
                for words, token in self._steps(answer):
                    if wanted is None or token in wanted.get(words, ()):
                        counts.setdefault(words, Counter())[token] += 1
        none: Counter[int] = Counter()
        self._left = {
            words: {
                token: 1 - count / (count + retain_scale * kept.get(words, none)[token] + pseudo_count)
                for token, count in found.items()
            }
            for words, found in gone.items()
        }

    def _steps(self, answer: Sequence[int]) -> Iterable[tuple[tuple[int, ...], int]]:
        for place, token in enumerate(answer):
            start = max(0, place - self.context) if self.context else 0
            yield tuple(answer[start:place]), int(token)

    def cleansed(self, probabilities: torch.Tensor, answer: Sequence[int]) -> torch.Tensor:
        """The distributions without the forget answers' share.

        Args:
            probabilities: Of each next token along an answer, shape `(tokens, vocabulary)`.
            answer: Its token ids; `probabilities[t]` is about `answer[t]`.

        Returns:
            Same shape, each row with sum 1.
        """
        result = probabilities.clone()
        for place, (words, _) in enumerate(self._steps(answer)):
            left = self._left.get(words)
            if left:
                tokens = torch.tensor(list(left), device=result.device)
                result[place, tokens] *= torch.tensor(list(left.values()), device=result.device, dtype=result.dtype)
        return result / result.sum(-1, keepdim=True)

    def forget_share(self, probabilities: torch.Tensor, answer: Sequence[int]) -> torch.Tensor:
        """Which probability the cleansing takes away, before scaling up; shape `(tokens,)`, in [0, 1)."""
        taken = torch.zeros(len(answer), dtype=probabilities.dtype)
        for place, (words, _) in enumerate(self._steps(answer)):
            for token, left in self._left.get(words, {}).items():
                taken[place] += float(probabilities[place, token]) * (1 - left)
        return taken
