"""Frozen models to rows: sampling and scoring, on one process or many. Knows nothing of data sets, metrics or training."""

from hf_unlearn.inference._completions import Completions as Completions
from hf_unlearn.inference._models import LoadedModel as LoadedModel
from hf_unlearn.inference._models import ModelLike as ModelLike
from hf_unlearn.inference._models import check_comparable as check_comparable
from hf_unlearn.inference._models import check_same_tokenizer as check_same_tokenizer
from hf_unlearn.inference._models import context_length as context_length
from hf_unlearn.inference._models import load_model as load_model
from hf_unlearn.inference._models import load_processing_class as load_processing_class
from hf_unlearn.inference._prompts import check_room as check_room
from hf_unlearn.inference._prompts import default_stop_token_ids as default_stop_token_ids
from hf_unlearn.inference._prompts import encode_prompts as encode_prompts
from hf_unlearn.inference._rows import AnswerRows as AnswerRows
from hf_unlearn.inference._rows import ScoredRows as ScoredRows
from hf_unlearn.inference._rows import check_estimator as check_estimator
from hf_unlearn.inference._rows import completion_rows as completion_rows
from hf_unlearn.inference._rows import concatenate as concatenate
from hf_unlearn.inference._rows import load_rows as load_rows
from hf_unlearn.inference._sampling import sample_completions as sample_completions
from hf_unlearn.inference._scoring import cross_score as cross_score
from hf_unlearn.inference._scoring import score as score
from hf_unlearn.inference._sharding import is_main_process as is_main_process
from hf_unlearn.inference._sharding import join_processes as join_processes
from hf_unlearn.inference._sharding import leave_processes as leave_processes
from hf_unlearn.inference._sharding import on_all_processes as on_all_processes
