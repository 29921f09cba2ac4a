"""A reader finds all of what was written or sees that it is not there, whenever the writer was killed."""

import errno
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from toys import tiny_llama, word_tokenizer

from hf_unlearn._files import fill_atomically, write_atomically
from hf_unlearn.inference import load_model
from hf_unlearn.training._unlearn_result import UnlearnResult


IDS = torch.tensor([[1, 5, 9, 20]])


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(IDS).logits


def result(model) -> UnlearnResult:
    return UnlearnResult(model, word_tokenizer("a"), Path(), [], {"objective": "npo"}, {}, {})


def adapter(base: str, seed: int = 0):
    torch.manual_seed(seed)
    return get_peft_model(
        load_model(base), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    )


class Killed(BaseException):
    """As `kill` would, at a place of choice."""


@pytest.mark.parametrize("kind", ["full over full", "full over adapter", "adapter over full", "adapter over adapter"])
def test_a_kill_leaves_the_old_the_new_or_visibly_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny_llama(7).save_pretrained(tmp_path / "base")
    new_kind, _, old_kind = kind.split()
    made = {
        "full": [tiny_llama(1), tiny_llama(2)],
        "adapter": [adapter(str(tmp_path / "base"), seed) for seed in (1, 2)],
    }
    old, new = made[old_kind][0], made[new_kind][1]
    wanted = [logits(old), logits(new)]
    real = {name: getattr(Path, name) for name in ("replace", "unlink")}
    states = set()
    for moment in range(40):
        folder = tmp_path / str(moment)
        result(old).save(folder)
        left = [moment]

        def counting(name: str, left=left):
            def act(self, *args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return real[name](self, *args, **kwargs)

            return act

        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(Path, name, counting(name))
            try:
                result(new).save(folder)
                done = True
            except Killed:
                done = False
        try:
            found = logits(load_model(str(folder)))
        except (OSError, ValueError):
            states.add("nothing")
            assert not done
        else:
            alike = [torch.allclose(found, answer, atol=1e-6) for answer in wanted]
            assert sum(alike) == 1
            states.add("old" if alike[0] else "new")
            assert not done or alike[1]
        if done:
            break
    assert done and states == {"old", "nothing", "new"}


def test_other_files_of_the_folder_and_an_adapters_own_base_stay(tmp_path: Path):
    tiny_llama(7).save_pretrained(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "other.safetensors").write_bytes(b"mine")
    adapted = adapter(str(tmp_path))
    result(adapted).save(tmp_path)
    assert torch.allclose(logits(load_model(str(tmp_path))), logits(adapted))
    assert (tmp_path / "notes.txt").read_text() == "mine" and (tmp_path / "other.safetensors").exists()


def test_a_full_disk_is_an_oserror_and_leaves_what_was_there(tmp_path: Path):
    def fill(path: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    (tmp_path / "config.json").write_text("{}")
    for write in (lambda: fill_atomically(tmp_path, fill), lambda: write_atomically(tmp_path / "config.json", fill)):
        with pytest.raises(OSError, match="No space left") as caught:
            write()
        assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]

    def wrong(path: Path) -> None:
        raise SafetensorError("invalid tensor")

    with pytest.raises(SafetensorError):  # which no other disk would mend
        fill_atomically(tmp_path, wrong)
