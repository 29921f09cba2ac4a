"""Evaluations of others and ours: open-unlearning's JSON read, compared and written; TOFU's logs read. Runs no model."""

from hf_unlearn.audit.interchange._names import EVAL_METRICS as EVAL_METRICS
from hf_unlearn.audit.interchange._names import EvalMetric as EvalMetric
from hf_unlearn.audit.interchange._read import EvalFigure as EvalFigure
from hf_unlearn.audit.interchange._read import ImportedEval as ImportedEval
from hf_unlearn.audit.interchange._read import import_eval as import_eval
from hf_unlearn.audit.interchange._write import ExportedEval as ExportedEval
from hf_unlearn.audit.interchange._write import export_eval as export_eval
