"""Counterfactual FADE from prompts and models alone, outside of an audit: the road of the Evaluate module. Shares the audit's reader."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_unlearn.audit._assumed import EXCHANGEABLE
from hf_unlearn.audit._checked import check_arguments, check_roles
from hf_unlearn.audit._completion_reading import Sampling
from hf_unlearn.audit._contracts import SubjectKey
from hf_unlearn.audit._evidence import EvidenceStore, content_key
from hf_unlearn.audit._selection import numbered_roles
from hf_unlearn.audit._subjects import LoadedSubject, common_stop_token_ids, common_tokenizer, open_subject
from hf_unlearn.audit.domains._counterfactual_reading import STAND_IN, CounterfactualReader, Pairs
from hf_unlearn.audit.domains._counterfactuals import Counterfactual
from hf_unlearn.audit.metrics.fade import clusters_of_prompts
from hf_unlearn.functional import (
    Bootstrap,
    Comparison,
    Estimate,
    FadeEstimate,
    average,
    clusters_by_content,
    compare,
    fade,
    mean_estimate,
)
from hf_unlearn.inference import ModelLike, ScoredRows, check_comparable, encode_prompts, given_rows, tell_apart


Prompts = Sequence[str] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class CounterfactualFadeMeasurement:
    """How far the candidate's answers are from what the original says of unseen subjects; assumes that subjects are exchangeable.

    Attributes:
        estimate: Stand-in against candidate ("reference" in its names is the stand-in).
        interval: Of its value.
        floor: The same of unseen names, or of continued models.
        floor_of: Which: "stand-in" (names alone differ) or "continued" (retraining noise included).
        start: The same of the original.
        comparison: Where the candidate lies between the two.
        num_counterfactuals: For the stand-in; as many again for the floor.
        estimator: "exact_step" or "sampled".
    """

    estimate: FadeEstimate
    interval: tuple[float, float] | None
    floor: float
    floor_of: str
    start: float
    comparison: Comparison
    num_counterfactuals: int
    estimator: str

    def to_dict(self) -> dict[str, object]:
        """Plain Python values, and what they rest on."""
        return {
            "counterfactual_fade": self.estimate.fade,
            "stand_in_to_candidate": self.estimate.reference_to_candidate,
            "candidate_to_stand_in": self.estimate.candidate_to_reference,
            "fade_per_token": self.estimate.fade_per_token,
            "confidence_interval": self.interval,
            "num_prompts": self.estimate.num_prompts,
            "num_counterfactuals": self.num_counterfactuals,
            "truncated_fraction": self.estimate.truncated_fraction,
            "estimator": self.estimator,
            "floor": self.floor,
            "floor_of": self.floor_of,
            "start": self.start,
            "relative": self.comparison.relative,
            "relative_confidence_interval": self.comparison.relative_interval,
            "assumes": EXCHANGEABLE,
        }


def measure_counterfactual_fade(
    *,
    prompts: Prompts,
    counterfactual_prompts: Sequence[Prompts],
    candidate: ModelLike,
    original: ModelLike,
    continued: ModelLike | Sequence[ModelLike] | None = None,
    clusters: Sequence[object] | None = None,
    processing_class: PreTrainedTokenizerBase | str | None = None,
    max_new_tokens: int = 64,
    seed: int = 0,
    estimator: str = "exact_step",
    confidence: float = 0.95,
    num_resamples: int = 1000,
    batch_size: int = 64,
    progress: bool = True,
    store: EvidenceStore | None = None,
) -> CounterfactualFadeMeasurement:
    """How far the candidate's answers are from what the original says to the same questions about subjects that it has never seen.

    Args:
        prompts: Forget questions: texts as the models saw them in training, or token ids.
        counterfactual_prompts: Of each prompt the same question about names that no training set contains, at least two, all as many: the first
            half is what the stand-in is asked, the second, of other names, makes the floor.
        candidate: The model under audit: loaded, path or Hub id.
        original: The model before unlearning.
        continued: What it became by further training on retain data, one or several: the floor then knows retraining noise, too.
        clusters: Whom each prompt is about; prompts about one count as one in every interval. Default: each prompt by itself.
        processing_class: The tokenizer; default: the one saved with the models.
        max_new_tokens: Where a completion is cut.
        seed: Of the samples and of the bootstrap.
        estimator: "exact_step" or "sampled", see `measure_fade`.
        confidence: Of the intervals.
        num_resamples: Of the bootstrap.
        batch_size: Rows at a time.
        progress: Whether to show progress bars.
        store: Where to keep evidence.

    Returns:
        Nats per sequence; see `CounterfactualFadeMeasurement`.

    Raises:
        TypeError: An argument of the wrong kind.
        ValueError: No prompts, counterfactual ones that do not fit them, models that cannot be compared or told apart.
    """
    options = check_arguments(confidence=confidence, num_resamples=num_resamples, seed=seed)
    check_arguments(estimator=estimator, progress=progress)
    check_arguments(batch_size=batch_size)
    roles = {"candidate": candidate, "original": original, **numbered_roles("continued", continued)}
    given = check_roles(roles, processing_class, needs_reference=False)
    if "original" not in given:
        raise ValueError("original must be given: the model before unlearning, which stands in for a retrained one.")
    own = given_rows(prompts, "prompts")
    each = _each(own, counterfactual_prompts)
    tokenizer = common_tokenizer(given, processing_class, needed=any(isinstance(prompt, str) for prompt in own))
    prompt_ids = encode_prompts(own, tokenizer)
    check_comparable(given, processing_class=tokenizer)
    pairs = Pairs.of(
        Counterfactual(at, number % each, number >= each, tuple(ids), {"input_ids": list(ids), "labels": []})
        for at, asked in enumerate(counterfactual_prompts)
        for number, ids in enumerate(encode_prompts(asked, tokenizer))
    )
    views = tell_apart(given)
    _check_asked(prompt_ids, pairs)
    first = open_subject(SubjectKey("original"), views["original"])
    split: Any = SimpleNamespace(
        name="forget", prompts=prompt_ids, examples=[{"input_ids": ids, "labels": []} for ids in prompt_ids]
    )
    settings: Any = SimpleNamespace(batch_size=batch_size, progress=progress)
    store = store or EvidenceStore(None)
    reader = CounterfactualReader(
        first,
        split,
        pairs,
        Sampling(each, max_new_tokens, options["seed"]),
        common_stop_token_ids(given, tokenizer),
        tokenizer=tokenizer,
        store=store,
        config=settings,
    )
    others = {name: view for name, view in views.items() if name != "original"}
    rows = {subject.key.role: _read(reader, subject, store) for subject in _alike(first)}
    for name, view in others.items():
        other = open_subject(SubjectKey(name), view)
        if name != "candidate" and other.fingerprint == first.fingerprint:
            raise ValueError(
                f"{name} and original are equal, so that the floor knows no retraining noise: give models that were trained on."
            )
        rows[name] = _read(reader, other, store)
    return _measurement(rows, clusters_by_content(prompt_ids), clusters, estimator, each, Bootstrap(**options))


def _each(prompts: Sequence[object], counterfactual: Sequence[Sequence[object]]) -> int:
    """Counterfactual prompts on each of the two sides.

    Raises:
        ValueError: They do not fit the prompts, or each other.
    """
    if len(counterfactual) != len(prompts):
        raise ValueError(
            f"counterfactual_prompts must be one list for each of the {len(prompts)} prompts; got {len(counterfactual)}."
        )
    if any(isinstance(asked, str) for asked in counterfactual):
        raise ValueError(
            "counterfactual_prompts are lists of texts (or of token id lists), one list a prompt; got a text."
        )
    counts = sorted({len(asked) for asked in counterfactual})
    if len(counts) != 1 or counts[0] < 2 or counts[0] % 2:
        raise ValueError(
            "every prompt needs the same even number of counterfactual ones, half of them for the floor; there are lists of "
            f"{', '.join(map(str, counts))}. Leave out prompts that cannot be asked about another subject."
        )
    return counts[0] // 2


def _check_asked(prompts: Sequence[tuple[int, ...]], pairs: Pairs) -> None:
    """Asked about the subject itself, or twice about one, the stand-in is none.

    Raises:
        ValueError: Names the prompt.
    """
    asked: dict[int, list[tuple[int, ...]]] = {}
    for one in (*pairs.asked, *pairs.floor):
        asked.setdefault(one.example, []).append(one.prompt)
    for at, found in asked.items():
        if tuple(prompts[at]) in found or len(set(found)) < len(found):
            raise ValueError(f"counterfactual_prompts of prompt {at}: one equals the prompt itself or another one.")


def _alike(original: LoadedSubject) -> list[LoadedSubject]:
    """The original itself, and once more as it answers about further unseen names."""
    return [original, dataclasses.replace(original, key=SubjectKey(STAND_IN))]


def _read(reader: CounterfactualReader, subject: LoadedSubject, store: EvidenceStore) -> ScoredRows:
    task = reader.task(subject)
    key = content_key("counterfactual_completions", 1, subject.key.role, *task.key)
    table = store.table(f"counterfactual-{subject.key}", key, task.count, task.compute, whole=task.whole)
    return ScoredRows(table.drop_columns(["item", "is_forget_answer"]))


def _measurement(
    rows: dict[str, ScoredRows],
    groups: np.ndarray,
    clusters: Sequence[object] | None,
    estimator: str,
    each: int,
    bootstrap: Bootstrap,
) -> CounterfactualFadeMeasurement:
    about = groups if clusters is None else clusters_by_content(clusters)
    if len(about) != len(groups):
        raise ValueError(f"clusters must name one for each of the {len(groups)} prompts, got {len(about)}.")
    labels = clusters_of_prompts(groups, about)
    found = {role: _fade(table, groups, estimator) for role, table in rows.items()}
    scale = "log" if estimator == "exact_step" else "plain"
    estimates: dict[str, Estimate] = {
        role: mean_estimate(each_one.per_prompt, labels, scale=scale) for role, each_one in found.items()
    }
    floors = [estimate for role, estimate in estimates.items() if role.startswith("continued")]
    floor_of = "continued" if floors else STAND_IN
    floors = floors or [estimates[STAND_IN]]
    ends = {role: estimates[role] for role in ("candidate", "original")}
    comparison = compare(ends | {f"twin {at}": floor for at, floor in enumerate(floors)}, bootstrap=bootstrap)
    return CounterfactualFadeMeasurement(
        found["candidate"],
        bootstrap.interval(estimates["candidate"]),
        average(floors).value,
        floor_of,
        estimates["original"].value,
        comparison,
        each,
        estimator,
    )


def _fade(table: ScoredRows, groups: np.ndarray, estimator: str) -> FadeEstimate:
    sides = [
        table.directed(sampled_from=own, scored_by=other, estimator=estimator, clusters=groups)
        for own, other in ((STAND_IN, "subject"), ("subject", STAND_IN))
    ]
    return fade(*sides, num_resamples=1)
