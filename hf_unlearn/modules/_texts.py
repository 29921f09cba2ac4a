"""What the modules share that compare generated with true texts."""

from typing import Any

import numpy as np

from hf_unlearn._arguments import switch
from hf_unlearn.functional import Bootstrap, mean_estimate
from hf_unlearn.modules._base import RowsModule, with_interval
from hf_unlearn.modules._shared_words import COMPATIBLE, INTERVAL, UNCERTAINTY, N
from hf_unlearn.modules._spec import Input, Output


TEXTS = (
    Input("predictions", "what the model generated (greedily, if published numbers are to be met)", "text"),
    Input("references", "the true text", "text"),
    Input("compatible", COMPATIBLE),
    *UNCERTAINTY,
)
TEXT_OUTPUTS = (
    *INTERVAL,
    N,
    Output(
        "n_without_words", "rows whose true text has no words, so that nothing could be found again; they do not count"
    ),
)
PAGE = {
    "predictions": ["She was born in Oslo.", "He writes about the sea", ""],
    "references": ["She was born in Bergen.", "He wrote novels about the sea.", "Yes, twice."],
}


class TextsModule(RowsModule):
    """The mean over texts of how much two have in common; subclasses compare them."""

    def compared(self, truth: str, given: str, compatible: bool) -> float | None:
        """In [0, 1]; None where the truth has no words."""
        raise NotImplementedError

    def measure(
        self,
        rows: dict[str, list],
        *,
        compatible: bool = False,
        clusters: list | None = None,
        bootstrap: Bootstrap,
    ) -> dict[str, Any]:
        """The mean over texts with words.

        Raises:
            ValueError: There are none.
        """
        switch("compatible", compatible)
        pairs = zip(rows["references"], rows["predictions"], strict=True)
        values = np.array([self.compared(truth, given, compatible) for truth, given in pairs], np.float64)
        there = np.isfinite(values)
        if not there.any():
            raise ValueError("no reference has a word in it, so that nothing could be found again.")
        own = None if clusters is None else np.array(clusters)[there]
        result = with_interval(
            self.spec.name, mean_estimate(values[there], own, scale="logit"), bootstrap, int(there.sum())
        )
        return {**result, "n_without_words": int((~there).sum())}
