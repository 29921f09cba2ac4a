"""Finding a recipe: objective, weight, learning rate and length under a budget, by the audited score."""

from hf_unlearn.tuning._recipe import Recipe as Recipe
from hf_unlearn.tuning._score import Score as Score
from hf_unlearn.tuning._tune import tune as tune
from hf_unlearn.tuning._tune_result import TuneResult as TuneResult
