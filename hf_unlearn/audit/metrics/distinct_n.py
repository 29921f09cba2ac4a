"""Whether the model says the same whatever it is asked."""

from hf_unlearn.audit._contracts import Citation, MetricSpec, Undefined
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._generations import GENERATIONS, generated_tokens
from hf_unlearn.functional import Bootstrap, Estimate, distinct_ngrams


class DistinctN(BaseMetric):
    """Share of all pairs of neighbouring tokens in all greedy answers of a set that are different, in (0, 1]; details: single tokens and triples."""

    spec = MetricSpec(
        name="distinct_n",
        title="variety of greedy answers (distinct-2)",
        short="distinct-2",
        unit="share of pairs of tokens that are different",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="utility",
        splits=("forget", "retain", "holdout"),
        needs=(GENERATIONS,),
        citation=Citation("Li et al. 2016", "1510.03055", "on the model's own tokens, the end token left out"),
        standard=False,
        options=("max_new_tokens",),
        without_knowledge="As the reference: as varied as the questions. One refusal for all questions: about 1 / the number of answers.",
        does_not_show="Whether the answers make sense: noise is varied. It falls with the number and the length of the answers, so it compares "
        "models on one set only.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """Of pairs."""
        found = self._share(rows, 2)
        if found is None:
            raise Undefined("no answer has two tokens")
        return found

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Of single tokens and of triples, where there are any."""
        found = {f"distinct_{n}": self._share(rows, n) for n in (1, 3)}
        return {name: share.value for name, share in found.items() if share is not None}

    @staticmethod
    def _share(rows: Rows, n: int) -> Estimate | None:
        return distinct_ngrams(generated_tokens(rows), n, rows.clusters, num_clusters=int(rows.clusters.max()) + 1)
