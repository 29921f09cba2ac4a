"""Every metric of the registry says what it is, what a model without the knowledge scores, and what it does not show."""

import inspect
import json
import re
from dataclasses import replace

import pytest
from made_reports import made, result

from hf_unlearn.audit import METRICS, AuditReport, report_schema
from hf_unlearn.audit._report import shown
from hf_unlearn.config import AuditConfig, options_of


class Asked(dict):
    """Settings that remember who asked for what."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name, default=None):
        self.names.add(name)
        return default

    def __getitem__(self, name):
        raise AssertionError(f"{name!r} is asked for without a default")


@pytest.mark.parametrize("name", list(METRICS))
def test_a_metric_says_what_it_does_not_show(name: str):
    spec = METRICS[name].from_settings({}).spec
    assert spec.name == name
    assert re.fullmatch(r"[A-Z0-9].{20,299}\.", spec.does_not_show), "one or two sentences on one line"
    assert re.fullmatch(r"\S.{8,299}", spec.without_knowledge), "a phrase on one line"


@pytest.mark.parametrize("name", list(METRICS))
def test_a_metric_is_defined_by_its_own_class(name: str):
    said = METRICS[name].__doc__
    assert said and said.strip()
    assert said not in {base.__doc__ for base in METRICS[name].__mro__[1:]}


@pytest.mark.parametrize("name", list(METRICS))
def test_options_of_a_metric_are_options_of_the_audit(name: str):
    """And whatever its class asks the settings for is among them."""
    asked = Asked()
    spec = METRICS[name].from_settings(asked).spec
    assert set(spec.options) <= {option.name for option in options_of(AuditConfig)}
    source = inspect.getsource(inspect.getmodule(METRICS[name]))
    read = set(re.findall(r"""settings(?:\.get\(|\[)\s*["'](\w+)["']""", source))
    read |= {"compatible"} if "compatible" in source else set()
    assert asked.names | read <= set(spec.options)


@pytest.mark.parametrize("part", ["title", "unit", "without_knowledge", "does_not_show"])
@pytest.mark.parametrize("text", ["two\nlines", "x" * 301, "\x1b[2J"])
def test_what_no_report_could_hold_is_refused_at_once(part: str, text: str):
    spec = METRICS["probability"].from_settings({}).spec
    with pytest.raises(ValueError, match=f"{part} of 'probability' must be one printable line of at most 300"):
        replace(spec, **{part: text})


def test_words_travel_with_the_report():
    """There and back; a report without them, as older ones are, loads and says nothing."""
    spec = METRICS["probability"].from_settings({}).spec
    report = made(result("probability", 0.5), probability=shown(spec))
    again = AuditReport.from_json(report.to_json())
    assert again.spec("probability").does_not_show == spec.does_not_show
    assert again.spec("probability").without_knowledge == spec.without_knowledge
    older = json.loads(report.to_json())
    for part in ("without_knowledge", "does_not_show"):
        del older["specs"]["probability"][part]
    assert AuditReport.from_json(json.dumps(older)).spec("probability").does_not_show == ""
    known = report_schema()["$defs"]["spec"]
    assert (
        set(json.loads(report.to_json())["specs"]["probability"]) == set(known["properties"]) > set(known["required"])
    )
    older["specs"]["probability"]["does_not_show"] = "two\nlines"
    with pytest.raises(ValueError, match="does_not_show must be one printable line"):
        AuditReport.from_json(json.dumps(older))
