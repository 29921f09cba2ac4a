"""Starting a script in two processes the way users do, with torchrun, on the CPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def torchrun(script: Path | str, *arguments: str, num_processes: int = 2, timeout: int = 300) -> str:
    """Run a script in several processes; returns what they printed.

    Raises:
        AssertionError: It failed; carries the output.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(num_processes)]
    command += ["--master_addr", "127.0.0.1", "--master_port", str(port), str(script), *arguments]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
