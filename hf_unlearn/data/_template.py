"""How a question is put to a model, as a format string. Knows text; no tokenizer and no dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from string import Formatter


QUESTION_TEMPLATE = "Question: {question}\nAnswer:"
"""How a question is put to a model without a chat template."""
CHOICES_TEMPLATE = "{question}\nAnswer:"
"""How a question with its choices is put, as lm-evaluation-harness does, whether there is a chat template or not."""


@dataclass(frozen=True)
class PromptTemplate:
    """A template in its two parts.

    Attributes:
        parts: Of the prompt: text, and None where the question stands.
        before: What stands between prompt and answer and belongs to the answer: one space, or nothing.
        after: What follows the answer and belongs to it.
    """

    parts: tuple[str | None, ...]
    before: str
    after: str

    def prompt(self, question: str) -> str:
        """The text that the answer follows."""
        return "".join(question if part is None else part for part in self.parts)

    def answer(self, answer: str) -> str:
        """The text that follows the prompt."""
        return self.before + answer + self.after


def parse_template(template: str) -> PromptTemplate:
    r"""Read a format string with `{question}` and, if wanted, `{answer}`.

    Without `{answer}` the answer follows after one space, or at once where the template ends in white space. Blanks in front of the
    answer belong to the answer, as tokenizers that mark the beginning of words want it, so that `"Q: {question} A:"`,
    `"Q: {question} A: "` and `"Q: {question} A: {answer}"` are the same template. What follows `{answer}` is part of what is trained on
    and scored. Only `{answer}` at the very end of a template without a blank before it puts no space there, as chat formats such as
    `"<|user|>{question}<|assistant|>{answer}"` mostly want it. Braces that are meant as such are written twice.

    Raises:
        TypeError: No string.
        ValueError: A string that is no template: unknown or missing fields, the answer before the question, format specifications.

    Example:
        >>> template = parse_template("[INST] {question} [/INST]")
        >>> template.prompt("Why?"), template.answer("So.")
        ('[INST] Why? [/INST]', ' So.')
        >>> parse_template("<|user|>{question}<|assistant|>{answer}").answer("So.")
        'So.'
    """
    if not isinstance(template, str):
        raise TypeError(f"prompt_template must be a string with {{question}} in it, got {type(template).__name__}.")
    pieces = _pieces(template)
    fields = [name for name, _ in pieces if name]
    questions = fields[:-1] if fields[-1:] == ["answer"] else fields
    if not questions or "answer" in questions:
        raise ValueError(
            f"prompt_template must have {{question}}, and after it {{answer}} or nothing, got {template!r}. "
            f"The built-in one is {QUESTION_TEMPLATE!r}."
        )
    if "answer" not in fields:
        pieces += [] if template[-1:].isspace() else [("", " ")]
        pieces.append(("answer", ""))
    at = [name for name, _ in pieces].index("answer")
    prompt = [None if name else text for name, text in pieces[:at]]
    last = prompt[-1] or ""
    if last:
        prompt[-1] = last.rstrip(" ")
    return PromptTemplate(tuple(prompt), last[len(last.rstrip(" ")) :], "".join(text for _, text in pieces[at + 1 :]))


def with_examples(template: str, examples: Iterable[tuple[str, str]]) -> str:
    r"""The template with questions and their answers in front of it, each put as it says and set off by an empty line.

    Braces and line breaks in the examples stay what they are.

    Args:
        template: As for `parse_template`.
        examples: Questions and answers.

    Raises:
        TypeError, ValueError: As for `parse_template`.

    Example:
        >>> with_examples("Q: {question}\nA:", [("1 + 1?", "{2}")])
        'Q: 1 + 1?\nA: {{2}}\n\nQ: {question}\nA:'
    """
    parsed = parse_template(template)
    before = "".join(f"{parsed.prompt(question)}{parsed.answer(answer)}\n\n" for question, answer in examples)
    return before.replace("{", "{{").replace("}", "}}") + template


def _pieces(template: str) -> list[tuple[str, str]]:
    """In order: ("", text), or (name of the field, "")."""
    pieces: list[tuple[str, str]] = []
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"prompt_template {template!r} is no format string: {error}. Write braces that are meant as such twice."
        ) from error
    for text, field, specification, conversion in parsed:
        if text:
            pieces.append(("", text))
        if field is None:
            continue
        if field not in ("question", "answer") or specification or conversion:
            whole = field + (f"!{conversion}" if conversion else "") + (f":{specification}" if specification else "")
            raise ValueError(
                f"prompt_template knows the fields {{question}} and {{answer}}, got {{{whole}}} in {template!r}. Write braces that are "
                "meant as such twice."
            )
        pieces.append((field, ""))
    return pieces
