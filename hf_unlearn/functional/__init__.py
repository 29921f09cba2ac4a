"""Tensors in, numbers out: log-probabilities, divergences, statistics. Knows no model, tokenizer, dataset or Hub."""

from hf_unlearn.functional._bootstrap import Relative as Relative
from hf_unlearn.functional._bootstrap import bootstrap_means as bootstrap_means
from hf_unlearn.functional._bootstrap import percentile_interval as percentile_interval
from hf_unlearn.functional._bootstrap import relative as relative
from hf_unlearn.functional._fade import ESTIMATORS as ESTIMATORS
from hf_unlearn.functional._fade import DirectedDivergence as DirectedDivergence
from hf_unlearn.functional._fade import FadeEstimate as FadeEstimate
from hf_unlearn.functional._fade import fade as fade
from hf_unlearn.functional._gumbel import gumbel_sample as gumbel_sample
from hf_unlearn.functional._log_probs import IGNORE_INDEX as IGNORE_INDEX
from hf_unlearn.functional._log_probs import answer_mask as answer_mask
from hf_unlearn.functional._log_probs import answer_positions as answer_positions
from hf_unlearn.functional._log_probs import flat_token_log_probs as flat_token_log_probs
from hf_unlearn.functional._log_probs import log_prob_divergence as log_prob_divergence
from hf_unlearn.functional._log_probs import sequence_log_probs as sequence_log_probs
from hf_unlearn.functional._log_probs import step_divergence as step_divergence
from hf_unlearn.functional._log_probs import token_log_probs as token_log_probs
