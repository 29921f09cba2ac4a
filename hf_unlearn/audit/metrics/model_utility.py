"""TOFU's model utility: what is left of everything that had to stay, in one number."""

from collections.abc import Callable, Iterator

from hf_unlearn.audit._contracts import Citation, MetricSpec, Reading, Undefined, is_measured
from hf_unlearn.audit._metric import BaseMetric
from hf_unlearn.audit._rows import Rows
from hf_unlearn.audit.metrics.normalized_probability import NormalizedProbability
from hf_unlearn.audit.metrics.probability import Probability
from hf_unlearn.audit.metrics.rouge_l import RougeL
from hf_unlearn.audit.metrics.truth_ratio_true_better import TruthRatioTrueBetter
from hf_unlearn.functional import Bootstrap, Estimate, harmonic_mean, independent_sets


Component = Callable[[Rows, Bootstrap], Estimate]


class ModelUtility(BaseMetric):
    """Harmonic mean, over all sets that had to stay, of probability, ROUGE-L recall and truth ratio of the true answers, in [0, 1].

    The probability is normalised by the wrong answers where a set has wrong answers but no true ones in other words (in TOFU real authors and
    world facts). A set that lacks a component leaves it out, and the report says so. A set that is given with `metrics` counts where they name this one: leave
    out what is no set of questions and answers, for example one with choices.
    """

    spec = MetricSpec(
        name="model_utility",
        title="model utility",
        short="utility",
        unit="harmonic mean of shares over the sets that had to stay",
        ideal="reference",
        bounds=(0.0, 1.0),
        family="utility",
        splits=("retain",),
        needs=(Reading("answers"), Reading("variants", optional=True), Reading("generations", optional=True)),
        standard=False,
        better="higher",
        citation=Citation("TOFU", "2401.06121"),
        across=True,
        options=("max_new_tokens", "compatible"),
        without_knowledge="near 0: one component near 0 is enough",
        does_not_show="Which component was lost, nor what the model can do beside these questions. It is comparable only between models measured on "
        "the same sets with the same components: the details list them.",
    )

    def __call__(self, rows: Rows, uncertainty: Bootstrap) -> Estimate:
        """The harmonic mean; clusters of different sets are independent, components of one set paired."""
        found = self._found(rows, uncertainty)
        if not found:
            raise Undefined("no set that had to stay has a component")
        return harmonic_mean(
            [part for own in independent_sets([[*own.values()] for own in found.values()]) for part in own]
        )

    def count(self, rows: Rows) -> int:
        """Examples of all sets."""
        return sum(rows.on(name).count for name in self._sets(rows))

    def details(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, float]:
        """Each component of each set, and how many there are."""
        found = self._found(rows, uncertainty)
        named = {f"{part}_{name}": own[part].value for name, own in found.items() for part in own}
        return {"components": float(len(named)), **named}

    def notes(self, rows: Rows) -> list[str]:
        """Which components are not there."""
        missing = [
            f"{part.replace('_', ' ')} of {name} ({why})"
            for name in self._sets(rows)
            for part, why in self._missing(rows.on(name))
        ]
        return [f"Model utility is without {'; '.join(missing)}."] if missing else []

    def _sets(self, rows: Rows) -> list[str]:
        splits = rows.evidence.splits
        return [name for name in rows.sets("retain") if is_measured(self.spec, splits[name])]

    def _found(self, rows: Rows, uncertainty: Bootstrap) -> dict[str, dict[str, Estimate]]:
        """By set and component; all roles have the same ones.

        Raises:
            Undefined: A component that other roles have has no value here: a mean of fewer would be another number.
        """
        found: dict[str, dict[str, Estimate]] = {}
        for name in self._sets(rows):
            for part, compute in _components(rows.on(name)):
                try:
                    found.setdefault(name, {})[part] = compute(rows.on(name), uncertainty)
                except Undefined as why:
                    if any(_has(compute, rows.on(name).of(role)) for role in rows.evidence.roles()):
                        raise Undefined(f"its component {part.replace('_', ' ')} of {name} is missing: {why}") from why
        return {name: own for name, own in found.items() if own}

    def _missing(self, rows: Rows) -> Iterator[tuple[str, str]]:
        for part, compute in _components(rows):
            try:
                compute(rows, Bootstrap(num_resamples=1))
            except Undefined as why:
                yield part, str(why)


def _components(rows: Rows) -> list[tuple[str, Component]]:
    """What TOFU takes of a set; which probability it is depends on the set alone, not on what a model makes of it."""
    normalized = rows.has("variants") and rows.column("variants", "is_wrong").astype(bool).all()
    probability: tuple[str, Component] = (
        ("normalized_probability", NormalizedProbability()) if normalized else ("probability", Probability())
    )
    return [probability, ("rouge_l", RougeL()), ("truth_ratio", TruthRatioTrueBetter())]


def _has(compute: Component, rows: Rows) -> bool:
    try:
        compute(rows, Bootstrap(num_resamples=1))
    except Undefined:
        return False
    return True
