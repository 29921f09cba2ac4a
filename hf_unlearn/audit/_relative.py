"""Where a relative is worth showing: one rule for terminal, card and figures."""

from hf_unlearn.audit._metric_result import MetricResult
from hf_unlearn.audit._verdict import has_power


def shown_relative(result: MetricResult) -> float | None:
    """The relative of a result, for views. The report itself keeps every one.

    Args:
        result: Of an audit.

    Returns:
        None where it has no interval, or where the examples do not tell the original from another retraining: a quotient by what may be 0 says
        nothing, however large it is.
    """
    return result.relative if result.relative_confidence_interval is not None and has_power(result) else None
