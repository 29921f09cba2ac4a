"""`me/model@v1`: a revision behind an id, everywhere an id is taken, over real HTTP to a Hub on the loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loopback_hub import loopback_hub
from peft import LoraConfig, get_peft_model
from toys import tiny_llama, word_tokenizer

from hf_unlearn.inference import load_model, split_revision, weights_fingerprint


PROGRAM = """
import json, sys
from hf_unlearn.audit._provenance import describe_model
from hf_unlearn.audit._subjects import open_subject
from hf_unlearn.inference import *
from hf_unlearn.inference._loading import saved_configs
found = {}
for name in sys.argv[1:]:
    try:
        subject = open_subject("candidate", name)
        found[name] = {
            **describe_model(name, subject),
            "tokens": sorted(load_processing_class(name).get_vocab()),
            "tokens of the loaded": sorted(load_processing_class(subject.model).get_vocab()),
            "base of an adapter on it": opened_revision(subject.model),
            "stops": default_stop_token_ids(name),
            "vocabulary": vocabulary_size(name),
            "classifier": is_classifier(name),
        }
    except (FileNotFoundError, ValueError) as error:
        found[name] = f"{type(error).__name__}: {error}"
print("found", json.dumps(found))
"""


def test_an_id_with_a_revision_means_that_revision(tmp_path: Path):
    """Two versions of a model with other weights, tokens, vocabulary and end; adapters on either."""
    versions = {"old": (tiny_llama(0), "a"), "new": (tiny_llama(1, vocab_size=31), "b")}
    versions["new"][0].config.eos_token_id = versions["new"][0].generation_config.eos_token_id = 7
    for name, (model, word) in versions.items():
        model.save_pretrained(tmp_path / name)
        word_tokenizer(word).save_pretrained(tmp_path / name)
    adapted = get_peft_model(load_model(tmp_path / "old"), LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.peft_config["default"].base_model_name_or_path = "me/model"
    adapted.peft_config["default"].revision = "v1"
    adapted.save_pretrained(tmp_path / "adapter")
    with loopback_hub(tmp_path / "served") as served:
        repository = served.add("me/model", tmp_path / "old")
        old = repository.refs["v1"] = repository.refs["main"]
        changes = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
        new = repository.commit(changes, "new")
        adapter = served.add("me/adapter", tmp_path / "adapter")
        adapter.refs["last"] = adapter.refs["main"]
        environment = {
            **os.environ,
            "HF_ENDPOINT": served.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
        }
        names = [
            "me/model",
            "me/model@v1",
            f"me/model@{old}",
            "me/adapter@last",
            "me/model@v9",
            "me/model@",
            "me/none@v1",
        ]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *names],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.split("found ", 1)[1])
    expected = {"me/model": ("new", new), "me/model@v1": ("old", old), f"me/model@{old}": ("old", old)}
    for name, (version, commit) in expected.items():
        model, word = versions[version]
        assert found[name]["weights_sha256"] == weights_fingerprint(model)
        assert (found[name]["name"], found[name]["source"], found[name]["revision"]) == ("me/model", "hub", commit)
        assert word in found[name]["tokens"] and found[name]["tokens of the loaded"] == found[name]["tokens"]
        assert (7 in found[name]["stops"]) == (version == "new")
        assert found[name]["vocabulary"] == model.config.vocab_size
        assert found[name]["classifier"] is False
        assert found[name]["base of an adapter on it"] == (name.partition("@")[2] or None)
    on_old = found["me/adapter@last"]
    assert (on_old["name"], on_old["revision"]) == ("me/adapter", adapter.refs["main"])
    assert on_old["vocabulary"] == 97 and "a" in on_old["tokens"]
    assert "the Hub's me/model has no branch, tag or commit 'v9'" in found["me/model@v9"]
    assert "a revision is written behind an id" in found["me/model@"]
    assert "me/none@v1" in found["me/none@v1"] and "does not have it" in found["me/none@v1"]


def test_a_path_that_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder may have an @ in its name."""
    monkeypatch.chdir(tmp_path)
    model = tiny_llama(0)
    model.save_pretrained("me@home/model@v1")
    for name in ("me@home/model@v1", Path("me@home/model@v1"), tmp_path / "me@home" / "model@v1"):
        assert weights_fingerprint(load_model(name)) == weights_fingerprint(model)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        load_model(tmp_path / "me@home" / "model@v2")


def test_one_revision_at_a_time():
    assert split_revision("me/model@refs/pr/1") == ("me/model", "refs/pr/1")
    assert split_revision("me/model@v1", "v1") == ("me/model", "v1")
    with pytest.raises(ValueError, match=r"'me/model@v1' names the revision 'v1', and revision='v2' was given"):
        load_model("me/model@v1", revision="v2")
