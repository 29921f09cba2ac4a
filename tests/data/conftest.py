"""Tokenizers, data beside the repository, and pocket models that are trained once per test session."""

import os
from pathlib import Path

import pytest

from hf_unlearn.data import load_pocket, pocket_tokenizer


CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def tokenizer():
    return pocket_tokenizer()


@pytest.fixture
def chat_tokenizer():
    tokenizer = pocket_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def pocket_cache(tmp_path_factory):
    """A folder of our own, unless the session has one already: nothing is read from or left in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "HF_UNLEARN_CACHE" not in os.environ:
            root = tmp_path_factory.getbasetemp()
            # Workers of pytest-xdist share the parent folder, and so each model is trained once.
            folder = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
            patch.setenv("HF_UNLEARN_CACHE", str(folder / "hf_unlearn_cache"))
        yield os.environ["HF_UNLEARN_CACHE"]


@pytest.fixture(scope="session", params=[0, 1])
def nano(request, pocket_cache):
    return load_pocket("nano", seed=request.param)


@pytest.fixture(scope="session")
def tofu_folder():
    root = os.environ.get("HF_UNLEARN_SHARED") or Path(__file__).resolve().parents[3] / "shared"
    folder = Path(root) / "data" / "tofu"
    if not folder.is_dir():
        pytest.skip(f"no TOFU in {folder}; set HF_UNLEARN_SHARED to the folder that holds data/tofu")
    return folder
