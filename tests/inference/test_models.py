from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from toys import tiny_llama, word_tokenizer

from hf_unlearn.inference import check_same_tokenizer, default_stop_token_ids, load_model, load_processing_class, score
from hf_unlearn.inference._models import context_length


EXAMPLES = [{"input_ids": [1, 4, 5], "labels": [-100, 4, 5]}]


def test_a_path_gives_the_model_that_was_saved(tmp_path: Path):
    model = tiny_llama()
    model.save_pretrained(tmp_path)
    opened = load_model(tmp_path)
    assert not opened.training
    assert score({"m": opened}, EXAMPLES, progress=False).table == score({"m": model}, EXAMPLES, progress=False).table


def test_an_adapter_path_gives_base_and_adapter(tmp_path: Path):
    tiny_llama().save_pretrained(tmp_path / "base")
    base = load_model(tmp_path / "base")
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    expected = score({"m": adapted}, EXAMPLES, progress=False).table
    adapted.save_pretrained(tmp_path / "adapter")
    opened = load_model(tmp_path / "adapter")
    assert isinstance(opened, PeftModel)
    assert score({"m": opened}, EXAMPLES, progress=False).table == expected
    assert default_stop_token_ids(tmp_path / "adapter") == (2,)


def test_pickled_weights_are_refused(tmp_path: Path):
    model = tiny_llama()
    model.config.save_pretrained(tmp_path / "full")
    torch.save(model.state_dict(), tmp_path / "full" / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="safetensors"):
        load_model(tmp_path / "full")
    model.save_pretrained(tmp_path / "base")
    adapted = get_peft_model(load_model(tmp_path / "base"), LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path / "adapter", safe_serialization=False)
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.safetensors"):
        load_model(tmp_path / "adapter")


def test_a_missing_model_says_what_was_tried(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"cannot open model .*no-such-model"):
        load_model(tmp_path / "no-such-model")


def test_a_loaded_model_is_returned_as_it_is():
    model = tiny_llama().train()
    assert load_model(model) is model and model.training
    with pytest.raises(TypeError, match="got Linear"):
        load_model(torch.nn.Linear(2, 2))


def test_an_adapter_without_a_tokenizer_has_that_of_its_base(tmp_path: Path):
    base, own = word_tokenizer("a", "b"), word_tokenizer("c", "d", "e")
    tiny_llama().save_pretrained(tmp_path / "base")
    base.save_pretrained(tmp_path / "base")
    adapter = tmp_path / "adapter"
    get_peft_model(load_model(tmp_path / "base"), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(adapter)
    assert load_processing_class(adapter).get_vocab() == base.get_vocab()
    with pytest.raises(ValueError, match=r"no tokenizer in .*adapter"):
        load_processing_class(tiny_llama(), str(adapter))
    own.save_pretrained(adapter)
    assert load_processing_class(adapter).get_vocab() == own.get_vocab() != base.get_vocab()


def test_tokenizer_comes_from_the_model_unless_given(tmp_path: Path):
    tokenizer = word_tokenizer("a", "b")
    tokenizer.save_pretrained(tmp_path)
    tiny_llama().save_pretrained(tmp_path)
    assert load_processing_class(tmp_path).get_vocab() == tokenizer.get_vocab()
    assert load_processing_class(load_model(tmp_path)).get_vocab() == tokenizer.get_vocab()
    assert load_processing_class(tmp_path, tokenizer) is tokenizer
    with pytest.raises(ValueError, match="pass processing_class="):
        load_processing_class(tiny_llama())


def test_tokenizers_that_number_tokens_differently_are_refused():
    check_same_tokenizer({"candidate": word_tokenizer("a", "b"), "reference": word_tokenizer("a", "b")})
    check_same_tokenizer({"candidate": word_tokenizer("a", "b", "added"), "reference": word_tokenizer("a", "b")})
    with pytest.raises(ValueError, match=r"candidate and reference differ in 2 ids .for example 1 is 'a' and 'b'"):
        check_same_tokenizer({"candidate": word_tokenizer("a", "b"), "reference": word_tokenizer("b", "a")})


def test_stop_tokens_are_all_that_model_and_tokenizer_name():
    model = tiny_llama()
    model.generation_config.eos_token_id = [2, 9]
    tokenizer = word_tokenizer("a", "b", "end")
    tokenizer.eos_token = "end"
    assert default_stop_token_ids(model, tokenizer) == (2, 3, 9)


def test_context_length_is_the_models():
    assert context_length(tiny_llama()) == 128
