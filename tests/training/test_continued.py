"""Models continued from the original: they start where it is, run a part of the recipe, and differ by seed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from recipes import Kill, Recipe, people, same, saved_base, tokenizer, weights
from toys import tiny_llama
from transformers import AutoModelForCausalLM, TrainerCallback

from hf_unlearn import continued
from hf_unlearn.training._continued import _resampled


WHOLE = {"fraction": 1, "seeds": [0]}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained otherwise than the base: other weights."""
    folder = saved_base(tmp_path_factory.mktemp("original"), seed=5)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(base: Path, original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with seed 0 done."""
    made = continued(Recipe(base), original, people(), output_dir=tmp_path_factory.mktemp("whole"), **WHOLE)
    return made.models[0].parent


class Watch(TrainerCallback):
    """What the training starts from and how long it is."""

    def __init__(self):
        self.starts, self.steps, self.rates = [], [], []

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.starts.append({name: value.detach().clone() for name, value in model.state_dict().items()})
        self.steps.append(state.max_steps)
        self.rates.append([])

    def on_step_begin(self, args, state, control, lr_scheduler=None, **kwargs):
        self.rates[-1].append(lr_scheduler.get_last_lr()[0])


def test_they_start_from_the_original_and_end_elsewhere_each_by_its_seed(base: Path, original: Path, tmp_path: Path):
    watch = Watch()
    made = continued(Recipe(base, callbacks=[watch]), original, people(), output_dir=tmp_path / "out", fraction=0.5)
    assert list(made.paths) == [0, 1] and watch.steps == [2, 2]
    for start in watch.starts:
        assert all(torch.equal(start[name], value) for name, value in weights(original).items())
    assert not any(same(one, two) for one, two in [(made.models[0], made.models[1]), (made.models[0], original)])
    note = json.loads((made.models[0] / "retraining.json").read_text())
    assert note["finished"] and note["made"]["fraction"] == 0.5 and note["optimizer_steps"] == 2
    assert str(tmp_path) not in json.dumps(note)


@pytest.mark.parametrize(
    ("arguments", "steps", "rates"),
    [
        ({"max_steps": 20, "warmup_steps": 8}, 5, [0, 0.005, 0.01, 0.01 * 2 / 3, 0.01 / 3]),
        ({"max_steps": -1, "num_train_epochs": 4, "warmup_steps": 0}, 6, [0.01 * (6 - at) / 6 for at in range(6)]),
        ({"max_steps": 2}, 1, [0.01]),
    ],
)
def test_the_schedule_is_shortened_as_a_whole(arguments, steps, rates, base: Path, original: Path, tmp_path: Path):
    """A quarter of 20 steps is 5, of 8 of warm-up 2; of 4 epochs of 24 rows in batches of 4, 6 steps; of 2 steps one."""
    watch = Watch()
    recipe = Recipe(base, callbacks=[watch], **{"lr_scheduler_type": "linear", **arguments})
    continued(recipe, original, people(), output_dir=tmp_path / "out", fraction=0.25, seeds=[3])
    assert watch.steps == [steps] and watch.rates[0] == pytest.approx(rates)


def test_an_adapter_trains_on_the_original_and_is_saved_with_it(base: Path, original: Path, tmp_path: Path):
    """By itself it would be opened on the base that its configuration names, which is another model."""
    made = continued(Recipe(base, lora=True), original, people(), output_dir=tmp_path / "out", seeds=[0])
    before, after = weights(original), weights(made.models[0])
    assert {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])} == {
        "q_proj",
        "v_proj",
    }


def test_an_interrupted_one_goes_on(base: Path, original: Path, whole: Path, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        continued(Recipe(base, callbacks=[Kill(3)]), original, people(), output_dir=tmp_path / "cut", **WHOLE)
    again = continued(Recipe(base), original, people(), output_dir=tmp_path / "cut", **WHOLE)
    assert same(whole / "seed-0", again.models[0])
    assert json.loads((again.models[0] / "retraining.json").read_text())["resumed_from"] == "checkpoint-2"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fraction": 0.5}, "fraction was 1.0 and is 0.5"),
        ({"resample": True}, "resample was False and is True"),
        ({"retain": people("Ada", "Bo")}, "rows was 24 and is 4"),
        ({"original": 7}, "original_sha256 was .* it started from other weights"),
    ],
)
def test_another_continuation_is_refused_in_the_same_folder(
    changed: dict, message: str, base: Path, original: Path, whole: Path
):
    settings = {"original": original, "retain": people(), **WHOLE}
    if "original" in changed:
        changed = {"original": tiny_llama(7, vocab_size=len(tokenizer()))}
    with pytest.raises(ValueError, match="was made another way: .*" + message):
        continued(Recipe(base), output_dir=whole, **{**settings, **changed})


def test_another_architecture_is_refused(original: Path, tmp_path: Path):
    larger = tmp_path / "larger"
    tiny_llama(vocab_size=len(tokenizer()), hidden_size=64).save_pretrained(larger)
    with pytest.raises(ValueError, match=r"does not fit the model that make_trainer builds: .*has another shape"):
        continued(Recipe(larger), original, people(), output_dir=tmp_path / "out")


def test_an_original_with_an_adapter_needs_one_in_the_recipe(base: Path, tmp_path: Path):
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    )
    torch.nn.init.normal_(adapted.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"].weight)
    with pytest.raises(ValueError, match="or its adapter merged"):
        continued(Recipe(base), adapted, people(), output_dir=tmp_path / "out")
    watch = Watch()
    continued(Recipe(base, lora=True, callbacks=[watch]), adapted, people(), output_dir=tmp_path / "out", seeds=[0])
    assert all(torch.equal(watch.starts[0][name], value) for name, value in adapted.state_dict().items())


@pytest.mark.parametrize("options", [{"init_lora_weights": "pissa"}, {"use_dora": True}])
def test_an_adapter_that_is_fitted_to_the_base_is_refused(options: dict, base: Path, original: Path, tmp_path: Path):
    def adapted(seed: int):
        model = AutoModelForCausalLM.from_pretrained(base)
        return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], **options))

    with pytest.raises(ValueError, match="does not answer like the original with the original's weights"):
        continued(Recipe(base, model=adapted), original, people(), output_dir=tmp_path / "out")


def test_a_recipe_that_trains_the_original_itself_is_refused(tmp_path: Path):
    loaded = tiny_llama(5, vocab_size=len(tokenizer()))
    recipe = Recipe(tmp_path, model=lambda seed: loaded)
    with pytest.raises(ValueError, match="gave two Trainers one model"):
        continued(recipe, loaded, people(), output_dir=tmp_path / "out")


def test_clusters_are_drawn_whole_and_by_seed():
    rows = people()
    drawn = [_resampled(rows, seed, None) for seed in (0, 0, 1)]
    assert drawn[0].to_list() == drawn[1].to_list() != drawn[2].to_list()
    for found in drawn:
        names, times = np.unique(found["person_id"], return_counts=True)
        assert len(found) == len(rows) and (times % 2 == 0).all() and 1 < len(names) < 12


def test_on_average_each_cluster_is_drawn_once():
    """500 resamples of 12 clusters: the mean count of one has standard deviation sqrt(11/12/500) = .043; five of them, for 12: 7e-6 false alarms."""
    counts = np.zeros(12)
    rows = people()
    for seed in range(500):
        names, times = np.unique(_resampled(rows, seed, "person_id")["person_id"], return_counts=True)
        for name, time in zip(names, times, strict=True):
            counts[sorted(set(rows["person_id"])).index(name)] += time / 2
    assert np.abs(counts / 500 - 1).max() < 5 * np.sqrt(11 / 12 / 500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": [1, 1]}, "seeds must differ"),
        ({"fraction": 0}, "fraction must be above 0"),
        ({"cluster_column": "person_id"}, "without resample=True none are drawn"),
        ({"cluster_column": "who", "resample": True}, "there is no cluster column 'who'"),
    ],
)
def test_bad_options_are_refused_before_the_recipe_is_asked(
    options: dict, message: str, original: Path, tmp_path: Path
):
    recipe = Recipe(tmp_path)
    with pytest.raises(ValueError, match=message):
        continued(recipe, original, people(), output_dir=tmp_path / "out", **options)
    assert not recipe.calls
