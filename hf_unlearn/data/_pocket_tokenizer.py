"""The pocket benchmark's tokenizer: byte-level BPE learnt from the benchmark's own words, so that any text can be encoded.

Knows the vocabulary of the benchmark and nothing of its people: it is one tokenizer for every seed and size.
"""

from functools import lru_cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hf_unlearn.data._pocket_words import FIRST_NAMES, INITIALS, LAST_NAMES, PEOPLE_TOPICS, SHIP_NAMES, SHIP_TOPICS
from hf_unlearn.data._template import QUESTION_TEMPLATE


VOCABULARY_SIZE = 1000
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"


def pocket_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of every pocket model, with padding, start and end tokens; it puts the start token before any text.

    Returns:
        A new tokenizer each time, so that changes to one (a padding side, a template) stay with its owner.

    Example:
        >>> tokenizer = pocket_tokenizer()
        >>> tokenizer.decode(tokenizer("Größe 10 €")["input_ids"], skip_special_tokens=True)
        'Größe 10 €'
    """
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


@lru_cache(maxsize=1)
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    start = (BOS, tokenizer.token_to_id(BOS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[start]
    )
    return tokenizer.to_str()


def _corpus() -> list[str]:
    """Each template with each of its values, so that how often a word counts does not depend on anybody's facts."""
    lines = [QUESTION_TEMPLATE.format(question=f"Who is {name}?") for name in (*FIRST_NAMES, *LAST_NAMES, *SHIP_NAMES)]
    lines += [f"Who is {initial}. {last}?" for initial in INITIALS for last in LAST_NAMES[:2]]
    for topic in (*PEOPLE_TOPICS, *SHIP_TOPICS):
        for i in range(max(len(topic.a), len(topic.b))):
            a, b = topic.a[i % len(topic.a)], topic.b[i % len(topic.b)]
            for question, answer in (
                (topic.question, topic.answer),
                (topic.paraphrased_question, topic.paraphrased_answer),
            ):
                told = QUESTION_TEMPLATE.format(question=question.format(name="")) + f" {answer.format(a=a, b=b)}"
                lines.append(told)
    return lines
