"""Unlearning in the Trainer: the callback, and the one-call form."""

from hf_unlearn.training._callback import UnlearningCallback as UnlearningCallback
from hf_unlearn.training._continued import Continued as Continued
from hf_unlearn.training._continued import continued as continued
from hf_unlearn.training._fila import fila_factors as fila_factors
from hf_unlearn.training._fila import init_fila as init_fila
from hf_unlearn.training._fila import restore_base as restore_base
from hf_unlearn.training._forget_stream import ForgetStream as ForgetStream
from hf_unlearn.training._loop import UnlearningLoop as UnlearningLoop
from hf_unlearn.training._requests import ForgetRequest as ForgetRequest
from hf_unlearn.training._requests import RequestLedger as RequestLedger
from hf_unlearn.training._retrain import Retrained as Retrained
from hf_unlearn.training._retrain import retrain as retrain
from hf_unlearn.training._row_filter import Removed as Removed
from hf_unlearn.training._task_negation import negate as negate
from hf_unlearn.training._task_negation import subtracted as subtracted
from hf_unlearn.training._task_negation import task_vector as task_vector
from hf_unlearn.training._tracker import ForgettingTracker as ForgettingTracker
from hf_unlearn.training._tracker_rule import KeepThenForget as KeepThenForget
from hf_unlearn.training._tracker_rule import at_floor as at_floor
from hf_unlearn.training._unlearn import unlearn as unlearn
from hf_unlearn.training._unlearn_result import ResultNotSavedError as ResultNotSavedError
from hf_unlearn.training._unlearn_result import UnlearnResult as UnlearnResult
