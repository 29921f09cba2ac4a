"""How well the answers are written: likely to the original, in varied words."""

import math

import numpy as np

from hf_unlearn.audit._contracts import Citation, MetricSpec, Undefined
from hf_unlearn.audit._metric import mean_of
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics._generations import (
    JUDGED_GENERATIONS,
    GenerationMetric,
    generated_texts,
    is_compatible,
)
from hf_unlearn.functional import (
    Bootstrap,
    Estimate,
    Wording,
    function_of,
    language_score,
    perplexity,
    treebank_words,
    wording,
    words,
)


class LanguageScore(GenerationMetric):
    """Harmonic mean of σ(−ln perplexity), σ(−ln Brunet's index) and σ(ln Honoré's statistic) of each greedy answer, mean over answers, in [0, 0.6].

    Perplexity is that under the original. With `compatible` the three are averaged over answers first, as the authors do, which lets one answer of
    great perplexity decide; punctuation marks are words then, and the end token does not count.
    """

    spec = MetricSpec(
        name="language_score",
        title="language score of greedy answers",
        short="language",
        unit="harmonic mean of three shares",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="utility",
        splits=("forget", "retain", "holdout"),
        needs=(JUDGED_GENERATIONS,),
        citation=Citation("ReLearn", "2502.11190", "our reading of its code; each answer by itself, then the mean"),
        standard=False,
        options=("max_new_tokens", "compatible"),
        requires=("original",),
        without_knowledge="As the reference: the score knows no facts. Sentences have 0.1 to 0.25, loops and noise less.",
        does_not_show="Whether an answer is true or fits. An answer of one word scores 0 by definition, however good it is; long answers score lower "
        "than short ones in the same words.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The mean over answers; of means with `compatible`."""
        if not is_compatible(rows):
            return mean_of(self.values(rows), rows)
        nats, found = self._perplexities(rows), self._wordings(rows)
        if np.isinf(nats).any():
            raise Undefined("the original gives an answer no probability at all")
        rich = [np.array([getattr(each, name) for each in found], np.float64) for name in ("brunet", "honore")]
        means = [mean_of(part, rows) for part in (nats, *rich)]
        if means[2].value == 0:
            raise Undefined("no answer has two words")
        return function_of(means, lambda nats, brunet, honore: language_score(nats, brunet, honore / (1 + honore)))

    def values(self, rows: Rows) -> np.ndarray:
        """Of each answer."""
        parts = zip(self._perplexities(rows), self._wordings(rows), strict=True)
        return np.array([language_score(each, found.brunet, found.honore_share) for each, found in parts], np.float64)

    def _wordings(self, rows: Rows) -> list[Wording]:
        compatible = is_compatible(rows)
        found = {
            text: treebank_words(text) if compatible else words(text, stem=False) for text in {*generated_texts(rows)}
        }
        return [wording(found[text], compatible=compatible) for text in generated_texts(rows)]

    def _perplexities(self, rows: Rows) -> np.ndarray:
        """Of each answer; with `compatible` without the end token, NaN where nothing is left."""
        log_probs, lengths = rows.per_token("generations", "original_log_probs")
        answers = np.split(log_probs, np.cumsum(lengths)[:-1])
        if is_compatible(rows):
            cut = rows.column("generations", "truncated")
            answers = [own if whole else own[:-1] for own, whole in zip(answers, cut, strict=True)]
        return np.array([perplexity(own) if len(own) else math.nan for own in answers])
