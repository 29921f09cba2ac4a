"""What the modules share that compare a model's first choices with the true tokens of answers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hf_unlearn._arguments import switch
from hf_unlearn.functional import Bootstrap, mean_estimate
from hf_unlearn.modules._base import RowsModule, with_interval
from hf_unlearn.modules._shared_words import COMPATIBLE
from hf_unlearn.modules._spec import Input


TOKENS = (
    Input(
        "predictions",
        "token ids of the model's first choice at each position of the answer, *given the true tokens before it*, a list",
        "tokens",
    ),
    Input("references", "token ids of the true answer, a list of the same length", "tokens"),
    Input("compatible", COMPATIBLE),
)
TEACHER_FORCED = """\
Predictions come from one forward pass over the true text (`logits.argmax(-1)` at the positions before the answer's tokens), not from `generate`:
free generation leaves the true text at its first mistake, and what follows says nothing."""


class TokensModule(RowsModule):
    """The mean over answers of a statistic of which tokens are right."""

    statistic: Callable[..., float]

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

    def measure(
        self,
        rows: dict[str, list],
        *,
        compatible: bool = False,
        clusters: list | None = None,
        bootstrap: Bootstrap,
    ) -> dict[str, Any]:
        """The mean over answers.

        Raises:
            ValueError: With `compatible`: an answer of one token, of which none is left.
        """
        switch("compatible", compatible)
        pairs = zip(rows["predictions"], rows["references"], strict=True)
        values = np.array([type(self).statistic(np.equal(*pair), compatible=compatible) for pair in pairs])
        if np.isnan(values).any():
            raise ValueError(
                f"references[{int(np.flatnonzero(np.isnan(values))[0])}] is one token, of which open-unlearning, which leaves out the last, has nothing "
                "left: compatible=False counts it."
            )
        return with_interval(self.spec.name, mean_estimate(values, clusters, scale="logit"), bootstrap, len(values))
