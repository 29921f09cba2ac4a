"""Hermetic tests: no network but the loopback, no downloads, one thread, one shared cache of tiny trained models."""

import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import settings


# Before torch and the Hub client are imported, or they do not see it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_EVALUATE_OFFLINE"] = "1"
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
TESTS = Path(__file__).resolve().parent
for folder in (TESTS, TESTS / "inference", TESTS / "training", TESTS / "benchmark_specs"):
    sys.path.insert(0, str(folder))

# The machine may be busy, and a failure must be there again tomorrow: no deadlines, the same examples every time.
settings.register_profile("hermetic", deadline=None, derandomize=True)
# `make test-all` looks further: other examples every time, and what it finds is printed with how to see it again.
settings.register_profile("explore", deadline=None, derandomize=False, max_examples=300, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hermetic"))

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"a test tried to reach {address}: tests run without a network")
    return _connect(self, address)


socket.socket.connect = _loopback_only


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Pocket models of this run, trained once and shared by its workers; a developer may name a folder that outlives it."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    os.environ.setdefault("HF_UNLEARN_CACHE", str(shared / "hf_unlearn_cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the repository."""
    folder = Path(os.environ.get("HF_UNLEARN_SHARED", TESTS.parents[1] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(
            f"needs the real data sets in {folder} (set HF_UNLEARN_SHARED); they are not part of the repository"
        )
    return folder
