"""Where the models of an audit lie, and in which precision they are opened."""

from pathlib import Path

from places import PLACES
from small_audits import arguments, numbers

from hf_unlearn.audit import audit


def test_an_audit_of_offloaded_models(tmp_path: Path):
    """Every number of the report, features and patching among them."""
    given = arguments(num_resamples=50)
    alone = audit(**given)
    for role, place in {"candidate": "disk", "reference": "memory", "original": "split"}.items():
        given[role] = PLACES[place](given[role], tmp_path / role)
    report = audit(**given)
    assert numbers(report) == numbers(alone) and len(numbers(report)) > 200
    described = report.provenance.models, alone.provenance.models
    assert described[0] == described[1]
