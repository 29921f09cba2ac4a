"""Unlearning in the Trainer: the callback, and the one-call form."""

from hf_unlearn.training._callback import UnlearningCallback as UnlearningCallback
from hf_unlearn.training._forget_stream import ForgetStream as ForgetStream
from hf_unlearn.training._unlearn import ResultNotSavedError as ResultNotSavedError
from hf_unlearn.training._unlearn import UnlearnResult as UnlearnResult
from hf_unlearn.training._unlearn import unlearn as unlearn
