"""What is minimised to forget, and what holds the rest in place. Losses on tensors; knows no Trainer."""

from hf_unlearn.objectives._base import ForgetBatch as ForgetBatch
from hf_unlearn.objectives._base import Objective as Objective
from hf_unlearn.objectives._base import RetainTerm as RetainTerm
from hf_unlearn.objectives._grad_ascent import GradientAscent as GradientAscent
from hf_unlearn.objectives._grad_ascent import grad_ascent_loss as grad_ascent_loss
from hf_unlearn.objectives._npo import NPO as NPO
from hf_unlearn.objectives._npo import npo_loss as npo_loss
from hf_unlearn.objectives._original import OriginalModel as OriginalModel
from hf_unlearn.objectives._registry import OBJECTIVES as OBJECTIVES
from hf_unlearn.objectives._registry import RETAIN_TERMS as RETAIN_TERMS
from hf_unlearn.objectives._registry import get_objective as get_objective
from hf_unlearn.objectives._registry import get_retain_term as get_retain_term
from hf_unlearn.objectives._retain import KLRetain as KLRetain
from hf_unlearn.objectives._retain import NLLRetain as NLLRetain
from hf_unlearn.objectives._retain import kl_retain_loss as kl_retain_loss
