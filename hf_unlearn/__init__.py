"""Unlearn inside the Hugging Face Trainer, and prove it."""

from hf_unlearn.audit import AuditReport as AuditReport
from hf_unlearn.audit import audit as audit
from hf_unlearn.audit import metric_path as metric_path
from hf_unlearn.objectives import CEU as CEU
from hf_unlearn.objectives import DPO as DPO
from hf_unlearn.objectives import IDK as IDK
from hf_unlearn.objectives import IHL as IHL
from hf_unlearn.objectives import NPO as NPO
from hf_unlearn.objectives import OBJECTIVES as OBJECTIVES
from hf_unlearn.objectives import PDU as PDU
from hf_unlearn.objectives import RMU as RMU
from hf_unlearn.objectives import UNDIAL as UNDIAL
from hf_unlearn.objectives import WGA as WGA
from hf_unlearn.objectives import AltPO as AltPO
from hf_unlearn.objectives import GradientAscent as GradientAscent
from hf_unlearn.objectives import HiddenRetain as HiddenRetain
from hf_unlearn.objectives import IdkDPO as IdkDPO
from hf_unlearn.objectives import KLRetain as KLRetain
from hf_unlearn.objectives import NLLRetain as NLLRetain
from hf_unlearn.objectives import RandomLabel as RandomLabel
from hf_unlearn.objectives import SatImp as SatImp
from hf_unlearn.objectives import Scrub as Scrub
from hf_unlearn.objectives import SimNPO as SimNPO
from hf_unlearn.training import UnlearningCallback as UnlearningCallback
from hf_unlearn.training import unlearn as unlearn
