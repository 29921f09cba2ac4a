"""Unlearn inside the Hugging Face Trainer, and prove it."""

from hf_unlearn.audit import AuditReport as AuditReport
from hf_unlearn.audit import audit as audit
from hf_unlearn.audit import metric_path as metric_path
from hf_unlearn.objectives import NPO as NPO
from hf_unlearn.objectives import OBJECTIVES as OBJECTIVES
from hf_unlearn.objectives import GradientAscent as GradientAscent
from hf_unlearn.objectives import KLRetain as KLRetain
from hf_unlearn.objectives import NLLRetain as NLLRetain
from hf_unlearn.training import UnlearningCallback as UnlearningCallback
from hf_unlearn.training import unlearn as unlearn
