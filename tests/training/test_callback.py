"""One step is the written-out loss; how it is cut up changes nothing; the Trainer is left as it was found."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from runs import Gradients, arguments, examples, largest_difference, trainer_with_callback, weights
from toys import tiny_llama
from transformers import Trainer, TrainerCallback

from hf_unlearn import NPO, GradientAscent, KLRetain, NLLRetain, UnlearningCallback
from hf_unlearn.data import AnswerCollator


def answer_log_probs(model, rows: list[dict]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per labelled token: log p, its example, and its whole log-softmax; written with nothing of ours, one row at a time."""
    values, owners, whole = [], [], []
    for index, row in enumerate(rows):
        logits = model(torch.tensor([row["input_ids"]])).logits[0]
        for position in range(1, len(row["labels"])):
            if row["labels"][position] != -100:
                log_softmax = F.log_softmax(logits[position - 1], -1)
                values.append(log_softmax[row["labels"][position]])
                owners.append(index)
                whole.append(log_softmax)
    return torch.stack(values), torch.tensor(owners), torch.stack(whole)


def written_out_loss(objective, retain_term, model, original, retain: list[dict], forget: list[dict]) -> torch.Tensor:
    log_probs, owners, whole = answer_log_probs(model, retain)
    if isinstance(retain_term, NLLRetain):
        retain_loss = -log_probs.mean()
    else:
        with torch.no_grad():
            _, _, before = answer_log_probs(original, retain)
        retain_loss = (before.exp() * (before - whole)).sum(-1).mean()
    log_probs, owners, _ = answer_log_probs(model, forget)
    if isinstance(objective, GradientAscent):
        return retain_loss, log_probs.mean()
    with torch.no_grad():
        before, _, _ = answer_log_probs(original, forget)
    ratio = torch.zeros(len(forget)).index_add(0, owners, log_probs - before)
    return retain_loss, (-(2 / objective.beta) * torch.log(torch.sigmoid(-objective.beta * ratio))).mean()


@pytest.mark.parametrize("objective", [GradientAscent(), NPO(beta=0.3)], ids=lambda part: part.name)
@pytest.mark.parametrize("retain_term", [NLLRetain(), KLRetain()], ids=lambda part: part.name)
@pytest.mark.parametrize("accumulation", [1, 4])
def test_one_step_has_the_gradient_of_the_written_out_loss(objective, retain_term, accumulation: int, tmp_path: Path):
    """The original is not the model that is trained: it is moved after the callback is made, or KL and NPO would start flat."""
    retain, forget = examples(8, seed=1), examples(11, seed=2)
    gradients = Gradients()
    options = {"objective": objective, "retain_term": retain_term, "forget_weight": 0.7, "retain_weight": 1.3}
    trainer, callback = trainer_with_callback(
        tmp_path,
        retain=retain,
        forget=forget,
        callbacks=[gradients],
        options=options,
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
    )
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    model = tiny_llama()
    model.load_state_dict(trainer.model.state_dict())
    trainer.train()
    chosen = [forget[int(index)] for index in callback.loss.stream.step(0)]
    parts = written_out_loss(objective, retain_term, model, tiny_llama(), retain.to_list(), chosen)
    (1.3 * parts[0] + 0.7 * parts[1]).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest_difference(gradients.first, expected) < 1e-5 * max(scale, 1.0)
    logged = trainer.state.log_history[0]
    assert logged["retain_loss"] == pytest.approx(parts[0].item(), rel=1e-4)
    assert logged["forget_loss"] == pytest.approx(parts[1].item(), rel=1e-4)
    assert logged["loss"] == pytest.approx(1.3 * logged["retain_loss"] + 0.7 * logged["forget_loss"], rel=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"objective": "npo"}, {"objective": "grad_ascent", "retain_term": "kl", "forget_weight": 0.1}],
    ids=["npo", "grad_ascent-kl"],
)
def test_accumulation_classes_give_one_trajectory(options: dict, tmp_path: Path):
    """8×1, 4×2, 2×4 and 1×8 over two epochs of 20 rows: three steps each, the last one of four rows."""
    results = []
    for size in (8, 4, 2, 1):
        trainer, _ = trainer_with_callback(
            tmp_path,
            options=options,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
            num_train_epochs=2,
        )
        start = weights(trainer.model)
        trainer.train()
        assert trainer.state.global_step == 6
        assert largest_difference(start, weights(trainer.model)) > 1e-3
        results.append((weights(trainer.model), [log for log in trainer.state.log_history if "loss" in log]))
        assert results[-1][1], "nothing was logged"
    for other, logs in results[1:]:
        assert largest_difference(results[0][0], other) < 1e-5
        for mine, theirs in zip(results[0][1], logs, strict=True):
            for key in ("forget_loss", "retain_loss"):
                assert mine[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-4)


def test_accumulation_where_the_trainer_divides_by_the_steps(tmp_path: Path):
    """Models that take no token count give a mean per micro-batch, which the Trainer divides by the accumulation steps; rows of equal
    length make that the mean over the step. The forget term must come out the same."""
    rows = [{"input_ids": [1, 5 + i, 9, 20 + i, 40 + i], "labels": [-100, -100, 9, 20 + i, 40 + i]} for i in range(16)]
    results = []
    for size in (8, 2):
        trainer, _ = trainer_with_callback(
            tmp_path,
            retain=Dataset.from_list(rows),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
        )
        trainer.model_accepts_loss_kwargs = False
        trainer.train()
        results.append((weights(trainer.model), trainer.state.log_history[0]))
    assert largest_difference(results[0][0], results[1][0]) < 1e-5
    for key in ("loss", "forget_loss", "retain_loss"):
        assert results[0][1][key] == pytest.approx(results[1][1][key], rel=1e-4)


def test_more_micro_batches_than_forget_examples(tmp_path: Path):
    """Three forget examples a step over eight micro-batches: five of them have none, and the mean is still over three."""
    results = []
    for size in (8, 1):
        trainer, _ = trainer_with_callback(
            tmp_path,
            options={"forget_batch_size": 3},
            per_device_train_batch_size=size,
            gradient_accumulation_steps=8 // size,
        )
        trainer.train()
        results.append(weights(trainer.model))
    assert largest_difference(*results) < 1e-5


def test_without_a_retain_term_only_the_forget_loss_is_minimised(tmp_path: Path):
    gradients = Gradients()
    forget = examples(11, seed=2)
    trainer, callback = trainer_with_callback(
        tmp_path, forget=forget, callbacks=[gradients], options={"retain_weight": 0, "objective": "grad_ascent"}
    )
    model = tiny_llama()
    trainer.train()
    log_probs, _, _ = answer_log_probs(model, [forget[int(index)] for index in callback.loss.stream.step(0)])
    log_probs.mean().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert largest_difference(gradients.first, expected) < 1e-5
    assert "retain_loss" not in trainer.state.log_history[0]


class _StopAt(TrainerCallback):
    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_training_stop = True


@pytest.mark.parametrize("retain_term", ["nll", "kl"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(retain_term: str, tmp_path: Path):
    """With dropout, so that the random state counts, and stopped inside the second epoch."""

    def run(folder: Path, callbacks=(), resume=None) -> dict[str, torch.Tensor]:
        trainer, _ = trainer_with_callback(
            folder,
            model=tiny_llama(attention_dropout=0.2),
            callbacks=callbacks,
            options={"retain_term": retain_term},
            optim="adamw_torch",
            learning_rate=1e-3,
            num_train_epochs=3,
            save_strategy="steps",
            save_steps=5,
        )
        trainer.train(resume_from_checkpoint=resume)
        return weights(trainer.model)

    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", [_StopAt(5)])
    resumed = run(tmp_path / "parts", resume=str(tmp_path / "parts" / "checkpoint-5"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_trainer_is_left_as_it_was_found(tmp_path: Path):
    trainer, _ = trainer_with_callback(tmp_path)
    before = dict(vars(trainer))
    plain_loss = trainer.evaluate(examples(6, seed=4))["eval_loss"]
    trainer.model.load_state_dict(tiny_llama().state_dict())
    trainer.train()
    assert "compute_loss" not in vars(trainer) and "log" not in vars(trainer)
    assert vars(trainer)["args"] is before["args"]
    trainer.model.load_state_dict(tiny_llama().state_dict())
    assert trainer.evaluate(examples(6, seed=4))["eval_loss"] == plain_loss


def test_own_methods_of_the_user_come_back(tmp_path: Path):
    trainer, _ = trainer_with_callback(tmp_path)
    mine = trainer.compute_loss

    def own(*args, **kwargs):
        return mine(*args, **kwargs)

    trainer.compute_loss = own
    trainer.train()
    assert trainer.compute_loss is own


def test_a_run_that_failed_leaves_no_double_hold(tmp_path: Path):
    class Fail(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 1:
                raise KeyboardInterrupt

    failing = Fail()
    trainer, _ = trainer_with_callback(tmp_path, callbacks=[failing])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.evaluate(examples(6, seed=4))["eval_loss"] > 0
    trainer.remove_callback(failing)
    trainer.model.load_state_dict(tiny_llama().state_dict())
    trainer.train()
    plain, _ = trainer_with_callback(tmp_path)
    plain.train()
    assert largest_difference(weights(trainer.model), weights(plain.model)) == 0
    assert "compute_loss" not in vars(trainer)


def test_evaluation_inside_training_is_plain(tmp_path: Path):
    evaluated = examples(6, seed=4)
    trainer = Trainer(
        model=tiny_llama(),
        args=arguments(tmp_path, eval_strategy="steps", eval_steps=1, num_train_epochs=2),
        train_dataset=examples(20, seed=1),
        eval_dataset=evaluated,
        data_collator=AnswerCollator(0),
    )
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=examples(11, seed=2)))
    trainer.train()
    without, _ = trainer_with_callback(tmp_path, num_train_epochs=2)
    without.train()
    assert largest_difference(weights(trainer.model), weights(without.model)) == 0
    last = [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log][-1]
    assert trainer.evaluate(evaluated)["eval_loss"] == pytest.approx(last, rel=1e-6)


@pytest.mark.parametrize("retain_term", ["kl", "hidden"])
def test_rows_without_a_label_ask_for_nothing(retain_term: str, tmp_path: Path):
    unlabelled = Dataset.from_list([{"input_ids": [1, 5, 9 + row], "labels": [-100] * 3} for row in range(8)])
    trainer, _ = trainer_with_callback(tmp_path, retain=unlabelled, options={"retain_term": retain_term})
    trainer.train()
    assert trainer.state.log_history[0]["retain_loss"] == 0.0


def test_logged_parts_are_means_over_the_window(tmp_path: Path):
    every, _ = trainer_with_callback(tmp_path, num_train_epochs=4)
    every.train()
    rare, _ = trainer_with_callback(tmp_path, num_train_epochs=4, logging_steps=6)
    rare.train()
    one = [log for log in every.state.log_history if "forget_loss" in log]
    six = [log for log in rare.state.log_history if "forget_loss" in log]
    assert (len(one), len(six)) == (12, 2)
    for key in ("forget_loss", "retain_loss"):
        assert six[1][key] == pytest.approx(sum(log[key] for log in one[6:]) / 6, rel=1e-5)


def test_the_original_is_the_model_when_the_callback_is_made(tmp_path: Path):
    """NPO's first loss is (2/β) log 2 exactly where nothing has moved, whatever the model."""
    trainer, _ = trainer_with_callback(tmp_path, options={"objective": NPO(beta=0.5)})
    trainer.train()
    assert trainer.state.log_history[0]["forget_loss"] == pytest.approx(4 * torch.tensor(2.0).log().item(), rel=1e-4)


def test_making_the_callback_disturbs_nothing(tmp_path: Path):
    model = tiny_llama(attention_dropout=0.3).train()
    state, before = torch.get_rng_state(), weights(model)
    trainer_with_callback(tmp_path, model=model, options={"retain_term": "kl"})
    assert model.training and largest_difference(before, weights(model)) == 0
    # Building TrainingArguments seeds nothing; only Trainer's own set_seed touches the state, equally with and without us.
    after_with = torch.get_rng_state()
    torch.set_rng_state(state)
    Trainer(model=model, args=arguments(tmp_path), train_dataset=examples(20, seed=1), data_collator=AnswerCollator(0))
    assert torch.equal(after_with, torch.get_rng_state())


@pytest.mark.parametrize("retain_term", ["nll", "kl"])
def test_lora_with_gradient_checkpointing_trains_both_matrices(retain_term: str, tmp_path: Path):
    model = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    model.enable_input_require_grads()
    before = weights(model)
    trainer, callback = trainer_with_callback(
        tmp_path, model=model, options={"retain_term": retain_term}, gradient_checkpointing=True, num_train_epochs=3
    )
    if retain_term == "kl":
        assert callback.loss.retain.original.way == "adapter off"  # no second model in memory
    trainer.train()
    moved = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    adapters = {name for name in before if "lora_" in name}
    assert moved == adapters


def test_a_trained_adapter_is_not_switched_off_to_ask_the_original(tmp_path: Path):
    model = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    trainer, callback = trainer_with_callback(tmp_path, model=model, options={"retain_term": "kl"})
    assert callback.loss.retain.original.way == "first adapter weights"  # nor here
    trainer.train()
    assert trainer.state.log_history[0]["retain_loss"] == pytest.approx(
        0, abs=1e-5
    )  # KL to itself before the first step


def test_bf16_runs_and_starts_where_it_should(tmp_path: Path):
    trainer, _ = trainer_with_callback(tmp_path, options={"objective": NPO(beta=0.5)}, bf16=True)
    trainer.train()
    first = trainer.state.log_history[0]["forget_loss"]
    assert first == pytest.approx(4 * torch.tensor(2.0).log().item(), rel=0.05)
    assert all(torch.isfinite(value).all() for value in weights(trainer.model).values())


def test_sft_trainer(tmp_path: Path):
    """TRL's trainer computes its loss its own way; the callback only adds to it."""
    from trl import SFTConfig, SFTTrainer

    from hf_unlearn.data import load_pocket

    pocket = load_pocket("nano")
    rows = [
        {"prompt": f"{row['question']}", "completion": f" {row['answer']}"} for row in pocket.retain.select(range(16))
    ]
    trainer = SFTTrainer(
        model=pocket.reference(),
        args=SFTConfig(
            output_dir=str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=pocket.tokenizer,
    )
    trainer.add_callback(UnlearningCallback(trainer, forget_dataset=pocket.forget, objective=NPO(beta=0.5)))
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["forget_loss"] == pytest.approx(4 * torch.tensor(2.0).log().item(), rel=1e-3)
    assert first["loss"] == pytest.approx(first["forget_loss"] + first["retain_loss"], rel=1e-3)


def test_any_object_with_the_right_members_is_an_objective(tmp_path: Path):
    class Half:
        name, reduction, needs = "half", "example", ()

        def __call__(self, batch):
            return batch.log_probs / 2

    trainer, _ = trainer_with_callback(tmp_path, options={"objective": Half(), "forget_weight": 0.01})
    trainer.train()
    assert "forget_loss" in trainer.state.log_history[0]


def untouchable():
    """A model that must not run."""

    def refuse(module, inputs):
        raise AssertionError("the model ran before the input was checked")

    model = tiny_llama()
    model.register_forward_pre_hook(refuse)
    return model


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"objective": "nop"}, ValueError, "no objective 'nop'; .*Did you mean 'npo'"),
        ({"objective": 3}, TypeError, "a int is no objective: it lacks name"),
        ({"retain_term": "kll"}, ValueError, "Did you mean 'kl'"),
        ({"forget_weight": 0}, ValueError, "forget_weight must be above 0"),
        ({"retain_weight": -1}, ValueError, "retain_weight must be at least 0"),
        ({"forget_batch_size": 12}, ValueError, "has 11 rows, but each optimisation step takes 12"),
    ],
)
def test_bad_settings_are_refused_before_the_model_runs(options: dict, error: type, message: str, tmp_path: Path):
    model = untouchable()
    with pytest.raises(error, match=message):
        trainer_with_callback(tmp_path, model=model, options=options)


def test_bad_data_is_refused_before_the_model_runs(tmp_path: Path):
    model = untouchable()
    with pytest.raises(ValueError, match="forget set has 3 rows"):
        trainer_with_callback(tmp_path, model=model, forget=examples(3, seed=2))
    overlapping = examples(20, seed=1).select(range(5, 20))
    with pytest.raises(ValueError, match=r"15 of 15 forget rows .*allow_overlap=True"):
        trainer_with_callback(tmp_path, model=model, forget=overlapping)
    too_long = Dataset.from_dict({"input_ids": [[1] * 200] * 9, "labels": [[1] * 200] * 9})
    with pytest.raises(ValueError, match="200 tokens"):
        trainer_with_callback(tmp_path, model=model, forget=too_long)
    with pytest.raises(ValueError, match="prompt"):
        trainer_with_callback(tmp_path, model=model, forget=Dataset.from_dict({"questoin": ["a"], "answer": ["b"]}))


def test_overlap_is_accepted_when_asked_for(tmp_path: Path):
    trainer, _ = trainer_with_callback(tmp_path, forget=examples(20, seed=1), options={"allow_overlap": True})
    trainer.train()
    assert trainer.state.global_step == 3


def test_a_loss_that_is_not_a_number_stops_before_the_step(tmp_path: Path):
    class Broken:
        name, reduction, needs = "broken", "example", ()

        def __init__(self):
            self.calls = 0

        def __call__(self, batch):
            self.calls += 1
            return batch.log_probs * (float("nan") if self.calls == 2 else 0.001)

    trainer, _ = trainer_with_callback(tmp_path, options={"objective": Broken()})
    with pytest.raises(FloatingPointError, match=r"forget_loss .broken. became nan at step 2"):
        trainer.train()
    assert all(torch.isfinite(value).all() for value in weights(trainer.model).values())
