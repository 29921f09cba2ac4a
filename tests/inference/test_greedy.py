"""Greedy answers: the most likely token each time, whatever the settings, the batch and the neighbours."""

import pyarrow as pa
import pytest
import torch
import world
from toys import MarkovLM, markov_lm, tiny_llama

from hf_unlearn.inference import greedy_tables
from hf_unlearn.inference._models import context_length


PROMPTS = [[1, 5, 6, 7], [1, 8], [1, 9, 10, 11, 12, 13], [1], [1, 8]]
STOPS = (2, 3, 4, 5, 6, 7)


def complete(model, prompts=PROMPTS, **options) -> pa.Table:
    given = {"max_new_tokens": 20, "stop_token_ids": STOPS, "progress": False, **options}
    return pa.concat_tables(list(greedy_tables(model, prompts, **given))).sort_by("item")


def answers(model, prompts=PROMPTS, **options) -> list[list[int]]:
    return complete(model, prompts, **options)["tokens"].to_pylist()


def by_hand(model, prompt: list[int], max_new_tokens: int = 20, stops=STOPS) -> list[int]:
    """The model alone, without a cache, from the whole sequence each time; the lowest of the most likely tokens."""
    ids = list(prompt)
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].float()
        ids.append(int((logits == logits.max()).nonzero()[0]))
        if ids[-1] in stops:
            break
    return ids[len(prompt) :]


@pytest.mark.parametrize("name", [name for name in world.names("causal_lm") if name != "xlnet"])
def test_what_a_model_says_by_hand(name: str):
    """xlnet is left out: its `generate` asks it otherwise than its `forward` answers."""
    model = world.build(name)
    assert answers(model) == [by_hand(model, prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_neither_batch_nor_neighbours_nor_order_change_an_answer(batch_size: int):
    model, prompts = tiny_llama(1), [[1, *range(3, 3 + length)] for length in (0, 1, 1, 2, 5, 9, 9, 14)]
    whole = answers(model, prompts)
    assert len({len(answer) for answer in whole}) > 2, "rows end at different times"
    assert answers(model, prompts, batch_size=batch_size) == whole
    assert answers(model, prompts[::-1], batch_size=batch_size) == whole[::-1]
    assert answers(model, prompts[3:4]) == whole[3:4]


def test_an_adapter_answers_as_it_does_by_hand():
    model = world.with_lora(world.build("llama"), "llama", seed=3)
    assert answers(model) == [by_hand(model, prompt) for prompt in PROMPTS]


def test_ties_go_to_the_lowest_token():
    model = MarkovLM(markov_lm(0).config).eval()
    with torch.no_grad():
        model.transition_logits.zero_()
        model.transition_logits[3, [6, 4, 5]] = 1.0
        model.transition_logits[4, [7, 2]] = 1.0
    assert answers(model, [[3]], stop_token_ids=[2]) == [[4, 2]]


def test_equal_prompts_are_completed_once(monkeypatch: pytest.MonkeyPatch):
    model = tiny_llama()
    rows = []
    real = type(model).generate
    monkeypatch.setattr(
        type(model), "generate", lambda self, **inputs: rows.append(len(inputs["input_ids"])) or real(self, **inputs)
    )
    found = answers(model, [[1, 8]] * 5 + [[1, 9]])
    assert max(rows) == 2 and found[0] == found[4]


def test_rows_that_have_ended_leave_the_batch(monkeypatch: pytest.MonkeyPatch):
    model = tiny_llama()
    alone = [answers(model, [prompt], stop_token_ids=[])[0] for prompt in ([1, 8], [1, 9])]
    early = next(token for token in alone[0][:8] if token not in alone[1])
    rows = []
    real = type(model).generate
    monkeypatch.setattr(
        type(model), "generate", lambda self, **inputs: rows.append(len(inputs["input_ids"])) or real(self, **inputs)
    )
    table = complete(model, [[1, 8], [1, 9]], stop_token_ids=[early])
    assert rows[-1] == 1 and 2 in rows
    assert table["tokens"].to_pylist() == [alone[0][: alone[0].index(early) + 1], alone[1]]
    assert table["truncated"].to_pylist() == [False, True]


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 5.0},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": [62, 47, 5]},
        {"do_sample": True, "temperature": 3.0},
        {"num_beams": 3},
        {"max_length": 3},
        {"min_new_tokens": 12},
        {"forced_eos_token_id": 2},
    ],
)
def test_generation_settings_change_nothing(settings: dict):
    plain, model = answers(tiny_llama()), tiny_llama()
    for key, value in settings.items():
        setattr(model.generation_config, key, value)
    before = model.generation_config.to_dict()
    assert answers(model) == plain
    assert model.generation_config.to_dict() == before


def test_items_asked_for_alone_are_what_they_are_among_all():
    model = tiny_llama()
    whole = complete(model)
    part = complete(model, items=[4, 1])
    assert part["item"].to_pylist() == [1, 4]
    assert part == whole.filter(pa.compute.is_in(whole["item"], pa.array([1, 4])))
    assert list(greedy_tables(model, PROMPTS, items=[], max_new_tokens=4, progress=False)) == []


class _BrokenLater(MarkovLM):
    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        found = super().forward(input_ids)
        if input_ids.shape[1] > 3:
            found.logits = found.logits * torch.nan
        return found


def test_numbers_that_are_none_are_named():
    model = _BrokenLater(markov_lm(0).config).eval()
    with pytest.raises(ValueError, match="_BrokenLater gives NaN logits in the middle of a completion"):
        answers(model, [[3]], stop_token_ids=[])
    with torch.no_grad():
        model.transition_logits.fill_(torch.nan)
    with pytest.raises(ValueError, match="_BrokenLater gives NaN logits; its weights are broken"):
        answers(model, [[3]])


@pytest.mark.parametrize(
    ("prompts", "options", "words"),
    [
        ([[1]], {"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ([[1]], {"batch_size": 0}, "batch_size must be at least 1"),
        ([[]], {}, "have no tokens"),
        ([], {}, "prompts"),
        ([[1] * 120], {}, "exceeds the model's context"),
        ([[1]], {"items": [1]}, "there is no item 1"),
    ],
)
def test_bad_input_is_refused(prompts: list, options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        answers(tiny_llama(), prompts, **options)


def test_a_batch_that_does_not_fit_is_read_in_halves(monkeypatch: pytest.MonkeyPatch):
    model = tiny_llama()
    whole = answers(model)
    real = type(model).generate

    def small(self, **inputs):
        if len(inputs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("too much")
        return real(self, **inputs)

    monkeypatch.setattr(type(model), "generate", small)
    assert answers(model) == whole


def test_a_known_beginning_saves_steps_and_changes_no_answer():
    """Of any length, past the end too; of equal prompts the longest counts."""
    model = tiny_llama(1)
    prompts = [[1, *range(3, 3 + length)] for length in (0, 1, 1, 2, 5, 9, 9, 14)]
    whole = answers(model, prompts)
    cuts = [0, 1, 3, 2, 20, 0, 4, 1]
    known = [answer[:cut] for answer, cut in zip(whole, cuts, strict=True)]
    known[4] += [9, 9]  # after the end nothing counts
    seen: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda module, given, out: seen.append(given[0].shape[1]))
    assert answers(model, prompts, known=known) == whole
    assert answers(model, prompts, known=known, batch_size=3) == whole
    assert answers(model, prompts, known=known, items=[4, 7]) == [whole[4], whole[7]]
    del seen[:]
    assert complete(model, prompts, known=whole).equals(complete(model, prompts)) and seen.count(1) > 0
    del seen[:]
    assert answers(model, prompts, known=whole) == whole and seen == []


@pytest.mark.parametrize("name", ["llama", "gpt2", "mamba", "gemma2"])
def test_beginnings_of_unequal_length_are_cut_where_there_is_no_more_room(name: str):
    """Each row at its own limit, however far its neighbours have to go: the context ends there."""
    model = world.build(name)
    prompts = [[1, 5, 6, 7], [1, 8], [1, 9, 10]]
    room = (context_length(model) or 24) - 4
    options = {"max_new_tokens": room, "stop_token_ids": ()}
    whole = answers(model, prompts, **options)
    known = [whole[0][: room - 1], whole[1][:0], whole[2][:5]]
    lengths: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda module, given, out: lengths.append(given[0].shape[1]))
    found = complete(model, prompts, **options, known=known)
    assert found["tokens"].to_pylist() == whole and found["truncated"].to_pylist() == [True] * 3
    assert max(lengths) <= (context_length(model) or max(lengths))


def test_beginnings_belong_to_prompts():
    with pytest.raises(ValueError, match="known holds the beginnings of 1 completions, of 5 prompts"):
        answers(tiny_llama(1), known=[[3]])
