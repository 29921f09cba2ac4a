"""Shares of what retraining takes from each layer, bounded for each example before they are averaged."""

from abc import abstractmethod

import numpy as np

from hf_unlearn.audit._contracts import Undefined
from hf_unlearn.audit._metric import BaseMetric, mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.functional import Bootstrap, Estimate, shares_of_effects


class ShareMetric(BaseMetric):
    """Mean over examples of each one's share; subclasses give effects, shape `(examples, layers)`."""

    @abstractmethod
    def effects(self, rows: Rows) -> np.ndarray:
        """What the subject takes from each layer of each example, shape `(examples, layers)`; 0 for the original.

        Raises:
            Undefined: It was not read.
        """

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over the examples of which some layer says anything, which the reference decides."""
        return mean_of(self._shares(rows), rows)

    def count(self, rows: Rows) -> int:
        """Examples of which some layer says anything."""
        return int(np.isfinite(self._shares(rows)).sum())

    def _shares(self, rows: Rows) -> np.ndarray:
        wanted = self.effects(rows.of("reference"))
        shares = shares_of_effects(wanted, self.effects(rows))
        if not np.isfinite(shares).any():
            raise Undefined("no layer of any example says anything")
        return shares
