"""Evaluate modules of plain values, enrolled by listing: one call or batches, combined or alone, good input and bad."""

import json
import pickle
from typing import Any

import evaluate
import numpy as np
import pytest
import torch
from datasets import Dataset

import hf_unlearn
from hf_unlearn.modules import MODULES, RowsModule


NAMES = [name for name, module in MODULES.items() if issubclass(module, RowsModule)]
CLUSTERED = [name for name in NAMES if "clusters" in MODULES[name].defaults()]
NUMBERS = {
    name: next(
        each.name for each in MODULES[name].spec.columns.values() if each.column in ("number", "numbers", "tokens")
    )
    for name in NAMES
    if {each.column for each in MODULES[name].spec.columns.values()} & {"number", "numbers", "tokens"}
}
"""A column of numbers of each module that has one."""


def load(name: str, **options: Any) -> evaluate.EvaluationModule:
    return evaluate.load(hf_unlearn.metric_path(name), **options)


def given(name: str) -> tuple[dict[str, list], dict[str, Any]]:
    """Columns and options of the example on the module's page."""
    spec = MODULES[name].spec
    columns = {each: list(spec.page[each]) for each in spec.columns}
    return columns, {each: value for each, value in spec.page.items() if each not in columns}


def count(name: str) -> int:
    return len(next(iter(given(name)[0].values())))


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_what_the_card_says(name: str, tmp_path):
    columns, options = given(name)
    result = load(name).compute(**columns, **options)
    assert list(result) == [each.name for each in MODULES[name].spec.outputs]
    assert isinstance(result[name], float) and result["n"] == count(name)
    assert "confidence_interval" in result
    assert (result["confidence_interval"] is None) <= bool(result["confidence_interval_note"]), (
        "None comes with a reason"
    )
    assert json.loads(json.dumps(result, allow_nan=False))
    evaluate.save(tmp_path, **result)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_memory", [True, False])
def test_rows_may_come_bit_by_bit(name: str, in_memory: bool):
    columns, options = given(name)
    expected = load(name).compute(**columns, **options)
    module = load(name, keep_in_memory=in_memory)
    for _ in range(2):  # nothing is left of the first time
        for at in (slice(0, 1), slice(1, None), slice(0, 0)):
            module.add_batch(**{each: values[at] for each, values in columns.items()})
        assert module.compute(**options) == expected
        for at in range(count(name) - 1):
            module.add(**{each: values[at] for each, values in columns.items()})
        last = {each: values[-1:] for each, values in columns.items()}
        assert module.compute(**last, **options) == expected, "rows of compute come after those that were added"
    assert pickle.loads(pickle.dumps(load(name))).compute(**columns, **options) == expected


@pytest.mark.parametrize("name", NAMES)
def test_values_may_come_from_anywhere(name: str):
    columns, options = given(name)
    expected = load(name).compute(**columns, **options)
    table = Dataset.from_dict(columns)
    assert load(name).compute(**{each: table[each] for each in columns}, **options) == expected
    assert load(name).compute(**{each: table.to_pandas()[each] for each in columns}, **options) == expected
    for make in (np.array, lambda values: torch.from_numpy(np.array(values))):
        arrays = {}
        for each, values in columns.items():
            kind = MODULES[name].spec.columns[each].column
            nested = [make(value) for value in values] if kind in ("numbers", "tokens") else values
            arrays[each] = make(values) if kind in ("number", "switch") else nested
        assert load(name).compute(**arrays, **options) == expected


def test_scalars_of_other_libraries_and_of_low_precision():
    """A list of NumPy's or torch's scalars, and bfloat16 with a gradient; a log-probability may be rounded to just above 0."""
    scores, members = np.array([3.0, 2.0, 1.0, 2.5]), np.array([True, True, False, False])
    expected = load("membership_inference").compute(scores=scores, is_member=members)
    assert load("membership_inference").compute(scores=list(scores), is_member=list(members)) == expected
    tensor = torch.tensor(scores, dtype=torch.bfloat16, requires_grad=True)
    assert load("membership_inference").compute(scores=tensor, is_member=torch.tensor(members)) == expected
    assert load("membership_inference").compute(scores=list(tensor), is_member=[1, 1, 0, 0]) == expected
    rounded = load("generalized_exposure").compute(log_probs=[1e-7, -1.0], reference_log_probs=[0.0, -1.0])
    assert rounded["generalized_exposure"] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_rows_in_another_order_are_the_same_rows(name: str):
    columns, options = given(name)
    expected = load(name).compute(**columns, **options)
    turned = {each: values[::-1] for each, values in (columns | options).items()}
    result = load(name).compute(**turned)
    assert result[name] == pytest.approx(expected[name], abs=1e-12)
    if expected["confidence_interval"] is not None:
        assert result["confidence_interval"] == pytest.approx(expected["confidence_interval"], abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_bad_rows_are_refused_in_words_and_leave_nothing_behind(name: str):
    columns, options = given(name)
    module, rows = load(name), count(name)
    expected = module.compute(**columns, **options)
    first, others = next(iter(columns)), list(columns)[1:]
    refused: list[tuple[dict[str, Any], type, str]] = [
        ({each: [] for each in columns}, ValueError, f"no rows: {name} needs"),
        ({}, ValueError, f"no rows: {name} needs"),
        (columns | {first: "text"}, TypeError, f"{first} must be a list"),
        (columns | {first: Dataset.from_dict(columns)}, TypeError, f"{first} must be a list of values, got a Dataset"),
        (columns | {first: dict(columns)}, TypeError, "pass one of its columns"),
        (columns | {first: [None] * rows}, TypeError, rf"{first}\[0\] must be"),
        (columns | {"clustres": [1]}, TypeError, f"{name} takes no input 'clustres'"),
    ]
    if others:
        refused += [
            ({first: columns[first]}, ValueError, f"{others[0]} must be given, one value a row; there is {first}"),
            (
                columns | {first: columns[first][:-1]},
                ValueError,
                f"equally many: {first} has {rows - 1}, {others[0]} has {rows}",
            ),
        ]
    for inputs, kind, message in refused:
        with pytest.raises(kind, match=message):
            module.compute(**inputs, **options)
        assert module.compute(**columns, **options) == expected


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", TypeError), (None, TypeError), (float("nan"), ValueError), (True, TypeError), (1j, TypeError)],
)
def test_what_is_no_number_is_refused(name: str, value: Any, kind: type):
    columns, options = given(name)
    column = NUMBERS[name]
    nested = MODULES[name].spec.columns[column].column != "number"
    if nested and MODULES[name].spec.columns[column].column == "tokens" and kind is ValueError:
        kind = TypeError  # NaN is no whole number
    columns[column] = [[value] if nested else value, *columns[column][1:]]
    with pytest.raises(kind, match=rf"{column}\[0\](\[0\])? (must be|is NaN)"):
        load(name).compute(**columns, **options)


@pytest.mark.parametrize("name", CLUSTERED)
def test_clusters(name: str):
    """Each row by itself is what it is without them; in one cluster they say nothing of uncertainty."""
    columns, options = given(name)
    expected = load(name).compute(**columns, **options)
    rows = count(name)
    assert load(name).compute(**columns, **options, clusters=list(range(rows)))[name] == expected[name]
    together = load(name).compute(**columns, **options, clusters=["one"] * rows)
    assert together[name] == pytest.approx(expected[name])
    assert together["confidence_interval"] is None and "too few" in together["confidence_interval_note"]
    for clusters, kind, message in [
        ([1], ValueError, f"one for each of the {rows} rows, got 1"),
        ([1.5] * rows, TypeError, "all texts or all whole numbers"),
        ([1, "1"] * rows, ValueError, "one for each"),
        (["1", *[1] * (rows - 1)], TypeError, "all texts or all whole numbers"),
        ("names", TypeError, "clusters must be a list"),
    ]:
        with pytest.raises(kind, match=message):
            load(name).compute(**columns, **options, clusters=clusters)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("name", CLUSTERED)
def test_rows_that_were_collected_survive_a_mistaken_option(name: str, in_memory: bool):
    """Those of the failed call itself do not, or its repetition would have them twice."""
    columns, options = given(name)
    expected = load(name).compute(**columns, **options)
    module = load(name, keep_in_memory=in_memory)
    for at in range(count(name) - 1):
        module.add_batch(**{each: values[at : at + 1] for each, values in columns.items()})
    last = {each: values[-1:] for each, values in columns.items()}
    for _ in range(2):
        with pytest.raises(ValueError, match="clusters must name one for each"):
            module.compute(**last, **options, clusters=[1])
    assert module.compute(**last, **options) == expected
    with pytest.raises(ValueError, match="there are no rows"):
        module.compute(**options)


@pytest.mark.parametrize("name", CLUSTERED)
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"confidence": 95}, "confidence must lie between 0 and 1"),
        ({"num_resamples": 0}, "num_resamples"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_of_the_interval_are_checked(name: str, option: dict, message: str):
    columns, options = given(name)
    with pytest.raises(ValueError, match=message):
        load(name).compute(**columns, **options, **option)


@pytest.mark.parametrize("first", [1, -1])
def test_all_modules_combine(first: int):
    """Those whose examples agree where they share a name; each gives what it gives alone, also from batches."""
    everything: dict[str, Any] = {}
    chosen: list[str] = []
    for name in NAMES[::first]:
        page = dict(MODULES[name].spec.page)
        if all(everything.get(each, value) == value for each, value in page.items()):
            everything |= page
            chosen.append(name)
    assert len(chosen) >= 7 and {"truth_ratio", "membership_inference"} <= set(chosen)
    result = evaluate.combine([load(name) for name in chosen]).compute(**everything)
    for name in chosen:
        columns, options = given(name)
        alone = load(name).compute(**columns, **options)
        for key, value in alone.items():
            assert result[key if key in result else f"{name}_{key}"] == value, (name, key)
    with pytest.raises(TypeError, match="takes no input 'nonsense'"):
        evaluate.combine([load(name) for name in chosen]).compute(**everything, nonsense=1)


def test_batches_of_combined_modules():
    batches = evaluate.combine([load("membership_inference"), load("privleak")])
    columns, options = given("privleak")
    for at in (slice(0, 4), slice(4, None)):
        batches.add_batch(**{each: values[at] for each, values in columns.items()})
    found = batches.compute(**options)
    assert found["privleak"] == load("privleak").compute(**columns, **options)["privleak"]


def test_one_row_the_ways_evaluate_says_it():
    alone, combined = (
        load("exact_memorization"),
        evaluate.combine([load("exact_memorization"), load("extraction_strength")]),
    )
    alone.add(prediction=[1, 2], reference=[1, 3])
    combined.add(prediction=[1, 2], reference=[1, 3])
    assert alone.compute()["exact_memorization"] == combined.compute()["exact_memorization"] == 0.5


def test_predictions_are_for_those_who_take_them():
    with pytest.raises(TypeError, match="truth_ratio takes no predictions and references but paraphrased, perturbed"):
        load("truth_ratio").compute(predictions=["a"], references=["b"])
    with pytest.raises(ValueError, match="truth_ratio collects paraphrased, perturbed, not 'predictions'"):
        load("truth_ratio").add_batch(predictions=["a"], references=["b"])


@pytest.mark.parametrize("name", ["truth_ratio", "generalized_exposure"])
def test_probabilities_are_not_taken_for_log_probabilities(name: str):
    columns, options = given(name)
    first = next(iter(columns))
    with pytest.raises(ValueError, match=rf"{first}\[0\] must be at most 0, got 0.7. Expected: .*nats"):
        load(name).compute(**columns | {first: [0.7] * count(name)}, **options)
