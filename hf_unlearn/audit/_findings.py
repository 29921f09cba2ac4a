"""What is found about the models in their roles before anything can be said of unlearning, each with its number and its sentence.

Was there anything to forget? Is one model in two roles? Are reference and twin retrained models at all? Knows numbers; runs no model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


LEAKED = "The reference has seen the data, or original and reference are swapped."
CAUSES = (
    "Usual causes: another chat template or prompt_template than in training, another tokenizer, rows that the original was not "
    "trained on, or a reference that was."
)
ALONE = {
    "stand-in": "when the questions name a subject that it has never seen",
    "holdout": "than the answers of the holdout set, which it has never seen",
}
"""What the original is compared with where there is no reference, by `Finding.other`."""
_CAUSES_ALONE = "Usual causes: another chat template or prompt_template than in training, another tokenizer, or rows that the original was not trained on."
KINDS = ("known before", "not known before", "known better after", "not checked", "not retrained", "equal")
_EQUAL = {
    frozenset(("reference", "candidate")): "so the audit compares a model with itself",
    frozenset(("reference", "original")): "so that there was nothing to forget, or one of the two is another model's",
    frozenset(("original", "candidate")): "so nothing was unlearned",
}
_EQUAL_CONTINUED = (
    "but a continued model must be one that the original became by further training, so the floor means nothing"
)
_EQUAL_TWIN = "but the twin must be a second retraining, with another seed, so floor and relative mean nothing"


@dataclass(frozen=True)
class Finding:
    """Something about the roles.

    Attributes:
        kind: One of `KINDS`. "known before": the original knows the forget answers clearly better than the reference; "not known before": it
            does not; "known better after": the reference knows them better; "not checked": nobody knows. "not retrained": the
            original knows the retain answers far better than `role`. "equal": `role` and `other` are one model.
        role: Whom it is about.
        other: The second one of an equal pair; of what the original knows, "" = compared with the reference, else a key of `ALONE`.
        value: Nats per token by which the original knows the answers better; None where it is not about that.
        interval: Of `value`.
        n: Independent rows behind it: people, prompts or texts.
        reason: Why it was not checked.
    """

    kind: str
    role: str = ""
    other: str = ""
    value: float | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of finding {self.kind!r}")

    @property
    def is_void(self) -> bool:
        """Whether nothing can be said about unlearning because of it; a candidate that equals the original is poor, not void."""
        if self.kind == "equal":
            return {self.role, self.other} != {"original", "candidate"}
        return self.kind in ("not known before", "known better after", "not retrained")

    @property
    def sentence(self) -> str | None:
        """In plain words; None where there is nothing to say."""
        if self.kind == "known before":
            return None
        if self.kind == "not checked":
            return f"Whether there was anything to forget in these rows, put this way, was not checked: {self.reason}."
        if self.kind == "equal":
            is_continued = self.other.startswith("continued") or self.role.startswith("continued")
            why = _EQUAL.get(frozenset((self.role, self.other)), _EQUAL_CONTINUED if is_continued else _EQUAL_TWIN)
            return f"{self.role} and {self.other} are equal (weights, settings, answers), {why}."
        return self._of_knowledge()

    def _of_knowledge(self) -> str:
        value, count = self.value or 0.0, self.n
        low, high = self.interval or (value, value)
        if self.kind == "not retrained":
            is_twin = self.role.startswith("twin")
            void = "floor and relative mean nothing" if is_twin else "distances to it say nothing about unlearning"
            return (
                f"the {self.role} is no model retrained on the retain set: the original knows the retain answers {value:.2f} nats per token "
                f"better (interval {low:.2f} to {high:.2f}, n = {count}), so {void}."
            )
        if self.other in ALONE:
            return (
                "Nothing can be said about forgetting: the original does not clearly know the forget answers better "
                f"{ALONE[self.other]} ({value:.2f} nats per token, interval {low:.2f} to {high:.2f}, n = {count}), so all distances here mean "
                f"nothing. {_CAUSES_ALONE}"
            )
        if self.kind == "known better after":
            return (
                "Nothing can be said about forgetting: the reference knows the forget answers better than the original does "
                f"({-value:.2f} nats per token, interval {-high:.2f} to {-low:.2f}, n = {count}), so all distances here mean nothing. {LEAKED}"
            )
        return (
            "Nothing can be said about forgetting: the original does not clearly know the forget answers better than the reference does "
            f"({value:.2f} nats per token, interval {low:.2f} to {high:.2f}, n = {count}), so all distances here mean nothing. {CAUSES}"
        )

    def to_plain(self) -> dict[str, Any]:
        """As JSON knows it; what is not there is left out."""
        plain = {name: getattr(self, name) for name in ("kind", "role", "other", "value", "interval", "n", "reason")}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items() if v not in (None, "")}


def finding_from_plain(data: Mapping[str, Any]) -> Finding:
    """Back from JSON.

    Raises:
        ValueError: An unknown kind, or a number that is none.
        KeyError: No kind.
    """
    numbers = [data.get("value", 0.0), *(data.get("interval") or ())]
    if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers):
        raise ValueError("the numbers of a finding must be finite")
    interval = data.get("interval")
    return Finding(
        kind=str(data["kind"]),
        **{name: str(data.get(name, "")) for name in ("role", "other", "reason")},
        value=None if data.get("value") is None else float(data["value"]),
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
        n=None if data.get("n") is None else int(data["n"]),
    )


def void_sentences(findings: Sequence[Finding]) -> list[str]:
    """What has to be said instead of everything else; empty where the roles are what they should be."""
    found = [(finding.kind, finding.sentence) for finding in findings if finding.is_void]
    nothing = [sentence for kind, sentence in found if sentence and kind in ("not known before", "known better after")]
    others = [
        f"Nothing can be said about unlearning: {sentence}"
        for kind, sentence in found
        if sentence and kind in ("equal", "not retrained")
    ]
    return nothing + others
