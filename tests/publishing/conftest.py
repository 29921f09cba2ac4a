"""A Hub on the loopback, and a client that may go there."""

import sys
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub, loopback_hub


sys.path.insert(0, str(Path(__file__).parent))
from reports import TOKEN


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Running; waits between retries cost nothing."""
    import huggingface_hub.constants
    import huggingface_hub.utils._http

    import hf_unlearn.publishing._hub as ours

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "unlearn-cache"))
    assert ours.time.sleep(0) is None
    with loopback_hub(tmp_path / "served") as served:
        served.tokens = {TOKEN}
        yield served


@pytest.fixture
def there(hub: LoopbackHub) -> dict[str, str]:
    """Arguments that lead to the Hub."""
    return {"endpoint": hub.endpoint, "token": TOKEN}
