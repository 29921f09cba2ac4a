"""What MUSE (arXiv 2407.06460) compares: a text gone on with, and a question answered, against the truth. Plain strings; no model.

Both are ROUGE-L as a balance of recall and precision: an answer that says everything scores low. The benchmark's own code does not stem
words and finds them as rouge-score does; open-unlearning's stems them. Ours does not stem, and counts words of every script.
"""

from hf_unlearn.functional._rouge import rouge_l


NEXT_QUESTION = ("\n\n", "\nQuestion", "Question:")
"""What ends an answer after in-context examples of this form: the model goes on with a question of its own."""


def verbatim_memorization(truth: str, given: str, *, compatible: bool = False) -> float | None:
    """ROUGE-L F-measure of how a model goes on with a text's beginning.

    Args:
        truth: How the text goes on, cut at as many tokens as the model may generate.
        given: What the model generated.
        compatible: As open-unlearning: words stemmed, ASCII letters only; a truth without words gives 0.

    Returns:
        In [0, 1], 1 = word by word; None where the truth has no words.

    Example:
        Three of four words in order, and one more: recall 3/4, precision 3/4.

        >>> verbatim_memorization("the cat sat down", "the cat lay down")
        0.75
    """
    found = rouge_l(truth, given, stem=compatible, compatible=compatible)
    return None if found is None else found.f_measure


def knowledge_memorization(truth: str, given: str, *, compatible: bool = False) -> float | None:
    """ROUGE-L F-measure of an answer to a question.

    Args:
        truth: The true answer.
        given: What the model generated; what follows the answer (`NEXT_QUESTION`) does not count.
        compatible: As for `verbatim_memorization`.

    Returns:
        In [0, 1], 1 = word by word; None where the truth has no words.

    Example:
        >>> knowledge_memorization("Oslo", " Oslo\\n\\nQuestion: Where is Rome?")
        1.0
    """
    return verbatim_memorization(truth, answer_alone(given), compatible=compatible)


def answer_alone(given: str) -> str:
    """A generated answer without the questions that the model went on with.

    Example:
        >>> answer_alone("Oslo\\nQuestion: and Rome?")
        'Oslo'
    """
    for end in NEXT_QUESTION:
        given = given.split(end, 1)[0]
    return given
