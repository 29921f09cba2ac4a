"""Reports and cards of schema 1, written by the version before (`schema_1/`): they load, compare and are verified as far as both mean the same."""

import dataclasses
import json
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from reports import metric, report

from hf_unlearn.audit import AuditReport, MetricResult, MetricResults
from hf_unlearn.publishing import compare_audits, load_audit, publish, verify
from hf_unlearn.publishing._report_claims import check_report


OLD = Path(__file__).parent / "schema_1"
REPO = "me/model"


@pytest.fixture
def own() -> AuditReport:
    return AuditReport.load(OLD / "own_report.json")


@pytest.fixture
def published(hub: LoopbackHub) -> LoopbackHub:
    files = {f"unlearning_audit/{name}": (OLD / name).read_bytes() for name in ("report.json", "manifest.json")}
    hub.add(REPO, {**files, "README.md": (OLD / "README.md").read_bytes()})
    return hub


def recomputed(own: AuditReport, **changes: MetricResult) -> AuditReport:
    """What this version finds for the same models and data: equal values, other intervals, more fields and more metrics."""
    metrics = MetricResults()
    for key, found in own.metrics.items():
        bounds = found.confidence_interval
        metrics[key] = dataclasses.replace(
            found, relative=None, relative_confidence_interval=None, relative_reason="of schema 2", details={"share": 0.1}, clusters=9,
            over_floor_interval=None if found.floor is None else (-9.0, 9.0), unit="another word",
            confidence_interval=None if bounds is None else (bounds[0] - 0.3, bounds[1] + 0.3),
        )  # fmt: skip
    metrics["truth_ratio/forget"] = metric(0.5, name="truth_ratio")
    provenance = dataclasses.replace(own.provenance, settings={**own.provenance.settings, "metrics": "standard"})
    again = {**metrics, **{key.replace("__", "/"): found for key, found in changes.items()}}
    return dataclasses.replace(
        own, metrics=MetricResults(again), schema_version=2, provenance=provenance, notes=("other words",)
    )


def outcomes(published: AuditReport, again: AuditReport, lacking: tuple[str, ...] = ()) -> dict[str, str]:
    return {check.name: check.outcome for check in check_report(published, again, lacking)}


def test_an_old_report_has_its_numbers_in_the_new_form(own: AuditReport):
    plain = json.loads((OLD / "own_report.json").read_text())["metrics"]
    assert own.schema_version == 1 and len(own.metrics) == len(plain) == 12
    names = {
        "fade/retain": "retain_fade",
        "probability/forget": "forget_probability",
        "residual_ratio/forget": "residual_ratio",
    }
    for new, old in names.items():
        found = own.metrics[new]
        assert (found.value, found.n, found.floor, found.others) == tuple(
            plain[old].get(part) for part in ("value", "n", "floor", "others")
        )
    assert own.metrics["probability/forget"].ideal == plain["forget_probability"]["others"]["reference"]
    assert own.metrics["progress/forget"].ideal == 1.0 and own.metrics["forget_retain_asymmetry/forget"].ideal is None
    assert {len(found.by_layer) for found in own.metrics.values()} == {0, 2}
    with pytest.warns(DeprecationWarning, match="is called 'fade/retain' now"):
        assert own.metrics["retain_fade"].value == plain["retain_fade"]["value"]


def test_an_old_report_says_what_it_is_and_no_more(own: AuditReport):
    """It has no paired differences, so nothing is judged by it."""
    said = own.reading()
    assert said[0].startswith(
        "Probability of the true answer on the forget set: candidate 0.41, a retrained model 0.20, before unlearning 0.95"
    )
    assert not [sentence for sentence in said if "cannot be told from" in sentence or "lies between" in sentence]
    assert own.spec("fade").headline and own.spec("fade").title == "FADE"


def test_what_schema_1_found_of_the_roles_is_found_again(own: AuditReport):
    plain = json.loads((OLD / "own_report.json").read_text())
    plain["metrics"]["forget_probability"]["details"] |= {"known_before": 0.0, "original_over_reference_high": 0.4}
    (sentence,) = AuditReport.from_json(json.dumps(plain)).reading()
    assert sentence.startswith("Nothing can be said about forgetting")
    plain["metrics"]["forget_probability"]["details"]["known_before"] = 1.0
    plain["provenance"]["models"]["candidate"]["same_as"] = "reference"
    (sentence,) = AuditReport.from_json(json.dumps(plain)).reading()
    assert "reference and candidate are equal" in sentence


def test_what_both_mean_alike_is_reproduced_and_the_rest_not_checkable(own: AuditReport):
    found = outcomes(own, recomputed(own))
    assert {name for name, outcome in found.items() if outcome == "reproduced"} == {"settings", *own.metrics}
    assert {name for name, outcome in found.items() if outcome == "not reproduced"} == set()
    assert found["notes"] == found["reading"] == found["fade/forget, the rest"] == "not checkable"
    less = recomputed(own)
    twinless = {
        key: dataclasses.replace(found, floor=None, floor_confidence_interval=None)
        for key, found in less.metrics.items()
    }
    assert (
        outcomes(own, dataclasses.replace(less, metrics=MetricResults(twinless)), ("the twin",))["fade/forget"]
        == "reproduced"
    )


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("fade/forget", {"value": 0.1}),
        ("fade/forget", {"floor": 9.0}),
        ("fade/forget", {"start": 99.0}),
        ("fade/forget", {"n": 100}),
        ("fade/forget", {"value": 0.1, "confidence_interval": (-1e300, 1e300)}),
        ("probability/forget", {"others": {"reference": 0.5}}),
        ("residual_ratio/retain", {"by_layer": {}}),
    ],
)
def test_a_lie_in_an_old_report_is_seen(key: str, change: dict, own: AuditReport):
    lie = dataclasses.replace(own.metrics[key], **change)
    forged = dataclasses.replace(own, metrics=MetricResults({**own.metrics, key: lie}))
    assert outcomes(forged, recomputed(own))[key] == "not reproduced"


def test_what_an_old_report_leaves_out_is_seen(own: AuditReport):
    """But not what schema 1 did not have."""
    less = MetricResults({key: found for key, found in own.metrics.items() if key != "fade/retain"})
    found = outcomes(dataclasses.replace(own, metrics=less), recomputed(own))
    assert {name for name, outcome in found.items() if outcome == "not reproduced"} == {"fade/retain"}
    settings = {**own.provenance.settings, "seed": 7}
    other = dataclasses.replace(own, provenance=dataclasses.replace(own.provenance, settings=settings))
    assert outcomes(other, recomputed(own))["settings"] == "not reproduced"


def test_a_published_audit_of_schema_1_loads_and_compares(published: LoopbackHub, there: dict):
    old = load_audit(REPO, **there)
    assert old.metrics["fade"].value == 12.4 and old.schema_version == 1
    publish(report(), "me/new", **there)
    rows = {row.name: row.results for row in compare_audits([REPO, "me/new"], **there)}
    assert rows["fade/forget"][REPO].value == rows["fade/forget"]["me/new"].value == 12.4
    assert rows["probe_auc/forget"]["me/new"] is None


@pytest.mark.parametrize(
    ("before", "after", "outcome", "reason"),
    [
        (b"", b"", "not checkable", "the section was written by schema 1"),
        (b"value: 12.4", b"value: 0.1", "not reproduced", "model-index is not what the report says"),
        (b"type: retain_fade", b"type: other_fade", "not reproduced", "model-index is not what the report says"),
        (b"audit:begin", b"audit:gone", "not reproduced", "0 audit sections"),
    ],
)
def test_a_card_of_schema_1(before, after, outcome, reason, published: LoopbackHub, there: dict):
    """Its model-index must say what its report says; its words are those of another version."""
    card = (OLD / "README.md").read_bytes()
    assert before in card
    published.repository(REPO).commit({"README.md": card.replace(before, after)}, "edited")
    checks = {check.name: check for check in verify(REPO, **there)}
    assert (checks["card"].outcome, reason in checks["card"].reason) == (outcome, True)
    assert checks["fade/forget"].outcome == "not checkable" and checks["fade/forget"].published == 12.4


def test_a_new_audit_takes_the_place_of_an_old_one(published: LoopbackHub, there: dict):
    publish(report(), REPO, **there)
    files = published.repository(REPO).files()
    card = files["README.md"].decode()
    assert (
        card.count("## Unlearning audit") == 1 and "retain_fade" not in card and card.startswith("---\nlicense: mit\n")
    )
    assert json.loads(files["unlearning_audit/report.json"])["schema_version"] == 2
    assert next(check for check in verify(REPO, **there) if check.name == "card").outcome == "reproduced"
