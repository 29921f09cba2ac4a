"""Exact memorization as an Evaluate module: first choices and true tokens in, the share that is right out."""

from hf_unlearn.functional import exact_memorization
from hf_unlearn.modules._memorized import TEACHER_FORCED, TOKENS, TokensModule
from hf_unlearn.modules._shared_words import INTERVAL, UNCERTAINTY, N
from hf_unlearn.modules._spec import ModuleSpec, Output, facts_of


class ExactMemorization(TokensModule):
    """What share of the true answers comes token by token?"""

    statistic = staticmethod(exact_memorization)
    spec = ModuleSpec(
        name="exact_memorization",
        title="Exact Memorization",
        metric="exact_memorization",
        description="Exact memorization is the share of an answer's tokens that are a language model's first choice, given the true tokens before them.",
        about="""\
For a true answer *y* of *n* tokens after a prompt *x*,

> EM = (1/n) · #{ t : argmax<sub>v</sub> p(v | x, y<sub>&lt;t</sub>) = y<sub>t</sub> },

averaged over answers, each counting the same whatever its length.""",
        inputs=(*TOKENS, *UNCERTAINTY),
        input_notes=TEACHER_FORCED,
        outputs=(
            Output("exact_memorization", "mean share of tokens over answers", "0 to 1; 1 = by heart"),
            *INTERVAL,
            N,
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("exact_memorization"))
>>> result = module.compute(predictions=[[5, 6, 7, 8], [9, 9]], references=[[5, 0, 7, 8], [9, 9]])
>>> result["exact_memorization"]
0.875
""",
        page={"predictions": [[5, 6, 7, 8], [9, 9], [4, 4, 2]], "references": [[5, 0, 7, 8], [9, 9], [4, 1, 2]]},
        facts=facts_of("exact_memorization"),
        limits=("Values of models with different tokenizers are not comparable: tokens are not words.",),
        source="Defined by Tirumala et al. 2022 (arXiv 2205.10770).",
        citation="""\
@misc{tirumala2022memorization,
  title = {Memorization Without Overfitting: Analyzing the Training Dynamics of Large Language Models},
  author = {Tirumala, Kushal and Markosyan, Aram H. and Zettlemoyer, Luke and Aghajanyan, Armen},
  year = {2022},
  eprint = {2205.10770},
  archivePrefix = {arXiv},
}
""",
    )
