"""Evidence, and what follows from it: FADE with floor, start and relative; the audit and its report."""

from hf_unlearn.audit._audit import audit as audit
from hf_unlearn.audit._evidence import EvidenceStore as EvidenceStore
from hf_unlearn.audit._fade import FadeMeasurement as FadeMeasurement
from hf_unlearn.audit._fade import fade_from_log_probs as fade_from_log_probs
from hf_unlearn.audit._fade import measure_fade as measure_fade
from hf_unlearn.audit._metric_path import metric_path as metric_path
from hf_unlearn.audit._metric_result import MetricResult as MetricResult
from hf_unlearn.audit._module_inputs import check_module_inputs as check_module_inputs
from hf_unlearn.audit._representation import RepresentationMeasurement as RepresentationMeasurement
from hf_unlearn.audit._representation import measure_representation as measure_representation
from hf_unlearn.audit._representation import representation_from_features as representation_from_features
from hf_unlearn.audit._results import AuditReport as AuditReport
from hf_unlearn.audit._results import Provenance as Provenance
from hf_unlearn.audit._results import ReportNotSavedError as ReportNotSavedError
