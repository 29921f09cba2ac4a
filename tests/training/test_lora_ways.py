"""What LoRA makes possible: task negation, requests one after the other, and FILA."""

import json
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from runs import examples
from toys import tiny_llama, word_tokenizer
from world import build

from hf_unlearn.data import Pocket, load_pocket, tokenize_examples
from hf_unlearn.inference import load_model, score
from hf_unlearn.training import (
    RequestLedger,
    _requests,
    fila_factors,
    init_fila,
    negate,
    restore_base,
    subtracted,
    task_vector,
    unlearn,
)


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return load_pocket("nano")


def probability(pocket: Pocket, model, rows: Dataset) -> float:
    found = score({"m": model}, tokenize_examples(rows, pocket.tokenizer).to_list(), progress=False)
    return float(found.probability("m").mean())


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([[1, 5, 9, 20]])).logits


def lora(**settings) -> LoraConfig:
    return LoraConfig(
        **{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    )


@pytest.mark.parametrize(
    "settings", [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}}],
    ids=["plain", "rslora", "patterns"],
)  # fmt: skip
def test_negation_is_exact_for_every_weight(settings: dict, tmp_path: Path):
    """W − λ·scaling·BA, matrix by matrix, and back to other weights without training; and so it is saved, alone."""
    model = get_peft_model(tiny_llama(), lora(init_lora_weights=False, **settings), adapter_name="forget")
    learnt = {
        name.removeprefix("base_model.model.") + ".weight": module.get_delta_weight("forget").clone()
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    for weight in (0.5, 2.0, 1.0):
        by_hand = tiny_llama()
        matrices = dict(by_hand.named_parameters())
        with torch.no_grad():
            for name, delta in learnt.items():
                matrices[name] -= weight * delta
        torch.testing.assert_close(logits(negate(model, weight)), logits(by_hand), rtol=1e-3, atol=1e-4)
    negate(model, 1.0).save_pretrained(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    reloaded = PeftModel.from_pretrained(tiny_llama(), tmp_path)
    torch.testing.assert_close(logits(reloaded), logits(by_hand), rtol=1e-4, atol=1e-5)
    plain = subtracted(model, 1.0)
    assert not isinstance(plain, PeftModel)
    torch.testing.assert_close(logits(plain), logits(by_hand), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"bias": "all"}, {"init_lora_weights": "pissa"}])
def test_an_adapter_that_is_more_than_matrices_is_not_subtracted(settings: dict):
    model = get_peft_model(tiny_llama(), lora(**settings), adapter_name="forget")
    with pytest.raises(ValueError, match=f"task negation cannot honour {next(iter(settings))}"):
        negate(model, 1.0)


def test_requests_at_once_are_carried_out_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two programs open the ledger when it is empty; none is lost, and the later one trains on top of the earlier one."""
    starts, running = [], []

    def training_that_takes_time(model, *, peft_config, output_dir, **settings):
        running.append(1)
        assert len(running) == 1
        starts.append(logits(model))
        torch.manual_seed(len(starts))
        get_peft_model(model, peft_config).save_pretrained(output_dir)
        time.sleep(0.3)
        running.pop()
        return types.SimpleNamespace(settings={"objective": {"name": "npo"}, "data": {}})

    monkeypatch.setattr(_requests, "unlearn", training_that_takes_time)
    base = tiny_llama()
    ledgers = [RequestLedger(tmp_path, base) for _ in range(2)]
    options = {"forget": None, "retain": examples(2, seed=0), "peft_config": lora(init_lora_weights=False)}
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda at: ledgers[at].carry_out(f"request-{at}", **options), range(2)))
    merged = RequestLedger(tmp_path, base)
    assert {request.name for request in merged.requests} == {"request-0", "request-1"}
    assert torch.equal(starts[0], logits(base)) and not torch.allclose(starts[1], starts[0], atol=1e-3)
    ledgers[0].record("request-1", {"fade": 1.0})  # which it has not seen so far
    with pytest.raises(ValueError, match="there is a request 'request-0' already"):
        ledgers[1].carry_out("request-0", **options)


def test_a_task_vector_makes_forget_and_its_negative_unlearn(pocket: Pocket):
    """On the reference, which never saw them: the adapter learns the forget answers; subtracted from the original they go."""
    options = {
        "forget": pocket.forget,
        "processing_class": pocket.tokenizer,
        "learning_rate": 5e-3,
        "num_train_epochs": 20,
    }
    before = probability(pocket, pocket.original(), pocket.forget)
    learnt = task_vector(pocket.reference(), **options)
    assert probability(pocket, learnt, pocket.forget) > probability(pocket, pocket.reference(), pocket.forget) + 0.15
    model = task_vector(pocket.original(), **options)
    sweep = [probability(pocket, negate(model, weight), pocket.forget) for weight in (1.0, 5.0, 20.0)]
    assert sweep[2] < before / 2
    with pytest.raises(ValueError, match="has an adapter already"):
        task_vector(model, **options)
    with pytest.raises(ValueError, match="weight must be above 0, got -1"):
        negate(model, -1)
    with pytest.raises(ValueError, match="no adapter 'forget'"):
        negate(get_peft_model(tiny_llama(), lora()), 1.0)


def test_requests_one_after_the_other(pocket: Pocket, tmp_path: Path):
    people = sorted(set(pocket.forget["person_id"]))
    half = len(people) // 2
    parts = [
        pocket.forget.filter(lambda row, chosen=chosen: row["person_id"] in chosen)
        for chosen in (people[:half], people[half:])
    ]
    base = tmp_path / "base"
    pocket.original().save_pretrained(base)
    pocket.tokenizer.save_pretrained(base)
    ledger = RequestLedger(tmp_path / "requests", str(base))
    options = {
        "retain": pocket.retain,
        "learning_rate": 5e-3,
        "num_train_epochs": 6,
        "objective": "npo",
        "per_device_train_batch_size": 4,
    }
    ledger.carry_out("first", forget=parts[0], **options)
    after_first = probability(pocket, ledger.model(), parts[0])
    assert after_first < 0.5
    ledger.carry_out("second", forget=parts[1], keep_forgotten=[parts[0]], **options)
    ledger.record("second", {"fade": 1.5})
    both = ledger.model()
    assert probability(pocket, both, parts[0]) < after_first + 0.15 and probability(pocket, both, parts[1]) < 0.5
    # One adapter that is exactly the sum.
    torch.testing.assert_close(logits(ledger.combined_adapter()), logits(both), rtol=1e-4, atol=1e-4)
    # The ledger is read again; requests can be left out, and taken back.
    again = RequestLedger(tmp_path / "requests", str(base))
    assert [request.name for request in again.requests] == ["first", "second"]
    assert again.requests[1].results == {"fade": 1.5}
    assert again.requests[0].objective["name"] == "npo"
    assert again.requests[0].data["forget"]["rows"] == len(parts[0])
    only_first = again.model(without=["second"])
    assert probability(pocket, only_first, parts[0]) == pytest.approx(after_first, abs=1e-5)
    assert torch.equal(logits(again.model(without=["first", "second"])), logits(load_model(str(base))))
    again.remove("second")
    assert torch.equal(logits(RequestLedger(tmp_path / "requests", str(base)).model()), logits(only_first))
    assert not again.adapter_folder("second").exists()
    text = (tmp_path / "requests" / "requests.json").read_text()
    assert not any(row["answer"] in text for row in pocket.forget) and json.loads(text)["base_sha256"]


def test_a_ledger_refuses_what_does_not_belong(tmp_path: Path, pocket: Pocket):
    ledger = RequestLedger(tmp_path, pocket.original())
    data = {
        "forget": pocket.forget,
        "retain": pocket.retain,
        "processing_class": pocket.tokenizer,
        "num_train_epochs": 1,
    }
    ledger.carry_out("one", **data)
    with pytest.raises(ValueError, match="there is a request 'one' already"):
        ledger.carry_out("one", **data)
    with pytest.raises(ValueError, match="a request's name becomes a folder"):
        ledger.carry_out("../one", **data)
    for act in (ledger.remove, lambda name: ledger.record(name, {}), lambda name: ledger.model(without=[name])):
        with pytest.raises(KeyError, match="no request 'two'"):
            act("two")
    with pytest.raises(ValueError, match="carried out on another base model"):
        RequestLedger(tmp_path, pocket.reference())
    with pytest.raises(ValueError, match="no requests to combine"):
        RequestLedger(tmp_path / "empty", pocket.original()).combined_adapter()


def test_fila_factors_weigh_rows_by_importance():
    """Rank 1 of diag(4, 1)·W with W = I: the important row is kept whole, the other one dropped."""
    a, b = fila_factors(torch.eye(2), torch.tensor([[16.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2), rank=1)
    torch.testing.assert_close((b @ a).abs(), torch.tensor([[1.0, 0.0], [0.0, 0.0]]), atol=1e-6, rtol=0)


FILA_SETTINGS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "patterns": {"rank_pattern": {"q_proj": 2, "down_proj": 6}, "alpha_pattern": {"v_proj": 32}},
    "patterns and rslora": {"use_rslora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 3}},
    "biases and dropout": {"bias": "all", "lora_dropout": 0.2},
    "some layers": {"layers_to_transform": [1], "target_modules": ["q_proj", "down_proj"]},
}


@pytest.mark.parametrize("settings", FILA_SETTINGS.values(), ids=FILA_SETTINGS)
@pytest.mark.parametrize("name", ["llama", "gpt2", "llama in bfloat16"])
def test_fila_leaves_the_model_as_it_was_and_becomes_an_ordinary_adapter(name: str, settings: dict, tmp_path: Path):
    """Outputs are the same after the start; after training too, on the original base with an adapter of twice the rank."""
    name, _, half = name.partition(" in ")
    if name == "gpt2":
        renamed = {"q_proj": "c_attn", "down_proj": "c_proj", "v_proj": "c_fc"}
        text = json.dumps({"target_modules": list(renamed), **settings})
        for old, new in renamed.items():
            text = text.replace(old, new)
        settings = json.loads(text)
    dtype = torch.bfloat16 if half else torch.float32
    near = {"rtol": 0.05, "atol": 0.5} if half else {"rtol": 1e-4, "atol": 1e-4}

    def base():
        return build(name, vocab_size=97, dtype=dtype)

    rows = examples(6, seed=0).to_list(), examples(8, seed=1).to_list()
    expected, weights_before = logits(base()), dict(base().state_dict())
    torch.manual_seed(0)
    model = get_peft_model(base(), lora(**settings))
    initial = init_fila(model, *rows)
    torch.testing.assert_close(logits(model), expected, **near)
    with model.disable_adapter():
        assert not torch.allclose(logits(model), expected, atol=0.5)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key or (settings.get("bias") == "all" and key.endswith("bias")):
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    trained = logits(model)
    assert not torch.allclose(trained, expected, atol=0.1)
    restored = restore_base(model, initial)
    torch.testing.assert_close(logits(restored), trained, **near)
    restored.save_pretrained(tmp_path)
    reloaded = PeftModel.from_pretrained(base(), tmp_path)
    torch.testing.assert_close(logits(reloaded), logits(restored), rtol=0, atol=0)
    saved = reloaded.peft_config["default"]
    assert saved.r == 8 and saved.use_rslora == bool(settings.get("use_rslora"))
    for key, value in restored.get_base_model().state_dict().items():
        key = key.replace(".base_layer", "")
        if "lora_" not in key and not (settings.get("bias") == "all" and key.endswith("bias")):
            assert torch.equal(value, weights_before[key]), key


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "cannot honour use_dora"),
        ({"lora_bias": True}, "cannot honour lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "cannot honour modules_to_save"),
        ({"r": 64}, r"matrix of shape .* the rank 64"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "but not on .*embed_tokens"),
        ({"init_lora_weights": "pissa"}, "FILA would change the model"),
        ({"target_modules": ["q_proj", "lm_head"]}, "FILA would change the model .*tied embeddings"),
    ],
)
def test_fila_refuses_what_it_cannot_honour_and_leaves_the_model_alone(settings: dict, message: str):
    rows = examples(2, seed=0).to_list(), examples(2, seed=1).to_list()
    model = get_peft_model(build("llama_tied", vocab_size=97), lora(**settings))
    before = {name: value.clone() for name, value in model.state_dict().items() if "lora_A" not in name}
    with pytest.raises(ValueError, match=message):
        init_fila(model, *rows)
    if "r" not in settings:
        assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    model.add_adapter("second", lora())
    with pytest.raises(ValueError, match="one active adapter"):
        init_fila(model, *rows)


def test_loku_in_one_call(pocket: Pocket, tmp_path: Path):
    """IHL with FILA forgets, and what was saved gives the same on the base it names."""
    base = tmp_path / "base"
    pocket.original().save_pretrained(base)
    pocket.tokenizer.save_pretrained(base)
    result = unlearn(
        str(base), forget=pocket.forget, retain=pocket.retain, objective="ihl", peft_config=lora(), fila=True,
        learning_rate=5e-3, num_train_epochs=6, output_dir=tmp_path / "out",
    )  # fmt: skip
    assert probability(pocket, result.model, pocket.forget) < 0.5
    assert probability(pocket, result.model, pocket.retain) > 0.7
    torch.testing.assert_close(logits(load_model(tmp_path / "out")), logits(result.model), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="fila=True initialises a LoRA adapter"):
        unlearn(str(base), forget=pocket.forget, retain=pocket.retain, fila=True, output_dir=tmp_path / "no")


def test_modules_that_do_not_exist_are_named(pocket: Pocket, tmp_path: Path):
    with pytest.raises(ValueError, match="wq"):
        unlearn(
            pocket.original(), forget=pocket.forget, retain=pocket.retain, processing_class=pocket.tokenizer,
            peft_config=lora(target_modules=["wq"]), output_dir=tmp_path,
        )  # fmt: skip


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_initialisation_that_moves_the_base_still_knows_its_original(init: str, tmp_path: Path):
    """Adapter off would be another model: the original comes from the adapter's first weights."""
    from runs import trainer_with_callback

    model = get_peft_model(tiny_llama(), lora(init_lora_weights=init))
    expected = logits(model)
    trainer, callback = trainer_with_callback(
        tmp_path, model=model, options={"objective": "undial", "retain_term": "kl", "processing_class": word_tokenizer("a")}
    )  # fmt: skip
    assert callback.loss.retain.original.way == "first adapter weights"
    trainer.train()
    assert not torch.allclose(logits(model), expected)
    torch.testing.assert_close(
        callback.loss.retain.original.logits({"input_ids": torch.tensor([[1, 5, 9, 20]])}), expected
    )
