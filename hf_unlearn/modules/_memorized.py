"""What the modules share that compare a model's first choices with the true tokens of answers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hf_unlearn.functional import Bootstrap, mean_estimate
from hf_unlearn.modules._base import RowsModule, with_interval
from hf_unlearn.modules._spec import Input


TOKENS = (
    Input(
        "predictions",
        "token ids of the model's first choice at each position of the answer, *given the true tokens before it*, a list",
        "tokens",
    ),
    Input("references", "token ids of the true answer, a list of the same length", "tokens"),
)
TEACHER_FORCED = """\
Predictions come from one forward pass over the true text (`logits.argmax(-1)` at the positions before the answer's tokens), not from `generate`:
free generation leaves the true text at its first mistake, and what follows says nothing."""


class TokensModule(RowsModule):
    """The mean over answers of a statistic of which tokens are right."""

    statistic: Callable[[np.ndarray], float]

    def checked(self, columns: Mapping[str, Any]) -> dict[str, list]:
        """Both lists of a row must have one length."""
        found = super().checked(columns)
        for at, (first, true) in enumerate(zip(found["predictions"], found["references"], strict=True)):
            if len(first) != len(true):
                raise ValueError(
                    f"predictions[{at}] has {len(first)} tokens, references[{at}] {len(true)}: needed is the model's first choice at each position of "
                    "the true answer, from one pass over it, not generated text."
                )
        return found

    def measure(self, rows: dict[str, list], *, clusters: list | None = None, bootstrap: Bootstrap) -> dict[str, Any]:
        """The mean over answers."""
        values = [
            type(self).statistic(np.equal(first, true))
            for first, true in zip(rows["predictions"], rows["references"], strict=True)
        ]
        estimate = mean_estimate(np.array(values), clusters, scale="logit")
        return with_interval(self.spec.name, estimate, bootstrap, len(values))
