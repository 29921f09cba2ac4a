"""Forget, retain and holdout sets: where they come from, and how they become token ids. Knows no metric and no objective."""

from hf_unlearn.data._choices import FORMS as FORMS
from hf_unlearn.data._choices import Choice as Choice
from hf_unlearn.data._choices import tokenize_choices as tokenize_choices
from hf_unlearn.data._chunks import CHUNK_TOKENS as CHUNK_TOKENS
from hf_unlearn.data._chunks import chunk_texts as chunk_texts
from hf_unlearn.data._collation import prompt_token_ids as prompt_token_ids
from hf_unlearn.data._collation import tokenize_examples as tokenize_examples
from hf_unlearn.data._collator import AnswerCollator as AnswerCollator
from hf_unlearn.data._collator import pad_token_id as pad_token_id
from hf_unlearn.data._columns import about as about
from hf_unlearn.data._fingerprint import data_fingerprint as data_fingerprint
from hf_unlearn.data._formats import other_formats as other_formats
from hf_unlearn.data._loading import DataLike as DataLike
from hf_unlearn.data._loading import load_data as load_data
from hf_unlearn.data._loading import open_data as open_data
from hf_unlearn.data._overlap import check_disjoint as check_disjoint
from hf_unlearn.data._pocket import POCKET_SIZES as POCKET_SIZES
from hf_unlearn.data._pocket import Pocket as Pocket
from hf_unlearn.data._pocket import load_pocket as load_pocket
from hf_unlearn.data._pocket_tokenizer import pocket_tokenizer as pocket_tokenizer
from hf_unlearn.data._template import CHOICES_TEMPLATE as CHOICES_TEMPLATE
from hf_unlearn.data._template import QUESTION_TEMPLATE as QUESTION_TEMPLATE
from hf_unlearn.data._template import with_examples as with_examples
from hf_unlearn.data._tofu import load_tofu as load_tofu
