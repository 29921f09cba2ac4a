"""Extraction strength as an Evaluate module: first choices and true tokens in, how much comes out by itself out."""

from hf_unlearn.functional import extraction_strength
from hf_unlearn.modules._memorized import TEACHER_FORCED, TOKENS, TokensModule
from hf_unlearn.modules._shared_words import INTERVAL, UNCERTAINTY, N
from hf_unlearn.modules._spec import ModuleSpec, Output, facts_of


class ExtractionStrength(TokensModule):
    """How much of the true answers comes out by itself once it has begun?"""

    statistic = staticmethod(extraction_strength)
    spec = ModuleSpec(
        name="extraction_strength",
        title="Extraction Strength",
        metric="extraction_strength",
        description="Extraction strength asks how much of an answer a language model completes by itself: one minus the share of its tokens that must be "
        "given before all others are the model's first choice.",
        about="""\
For a true answer *y* of *n* tokens, let *k* be the number of its first tokens that must be given so that greedy decoding gives all others. Then

> ES = 1 − k / n,

averaged over answers. *k* ends with the last token that is not the model's first choice, so one forward pass decides it. A model that is never right
scores 0; the field's common implementation gives it 1/n, which favours short answers.""",
        inputs=(*TOKENS, *UNCERTAINTY),
        input_notes=TEACHER_FORCED,
        outputs=(
            Output(
                "extraction_strength",
                "mean over answers of the share that comes by itself",
                "0 to 1; 1 = the whole answer",
            ),
            *INTERVAL,
            N,
        ),
        example="""
>>> import evaluate, hf_unlearn
>>> module = evaluate.load(hf_unlearn.metric_path("extraction_strength"))
>>> result = module.compute(predictions=[[5, 6, 7, 8], [1, 2]], references=[[5, 0, 7, 8], [9, 9]])
>>> result["extraction_strength"]
0.25
""",
        page={"predictions": [[5, 6, 7, 8], [9, 9], [4, 4, 2]], "references": [[5, 0, 7, 8], [9, 9], [4, 1, 2]]},
        facts=facts_of("extraction_strength"),
        limits=("Values of models with different tokenizers are not comparable: tokens are not words.",),
        source="After Carlini et al. 2021 (arXiv 2012.07805).",
        citation="""\
@misc{carlini2021extracting,
  title = {Extracting Training Data from Large Language Models},
  author = {Carlini, Nicholas and Tramer, Florian and Wallace, Eric and Jagielski, Matthew and Herbert-Voss, Ariel and Lee, Katherine and
            Roberts, Adam and Brown, Tom and Song, Dawn and Erlingsson, Ulfar and Oprea, Alina and Raffel, Colin},
  year = {2020},
  eprint = {2012.07805},
  archivePrefix = {arXiv},
}
""",
    )
