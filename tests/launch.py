"""Starting a script in two processes the way users do, with torchrun or `accelerate launch`, on the CPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch.distributed


def torchrun(script: Path | str, *arguments: str, num_processes: int = 2, timeout: int = 300) -> str:
    """Run a script in several processes; returns what they printed.

    Raises:
        AssertionError: It failed; carries the output.
    """
    options = [
        "--nproc_per_node",
        str(num_processes),
        "--master_addr",
        "127.0.0.1",
        "--master_port",
        str(_free_port()),
    ]
    return _run(["torch.distributed.run", *options, str(script), *arguments], timeout)


def accelerate_launch(script: Path | str, *arguments: str, num_processes: int = 2, timeout: int = 300) -> str:
    """The same with `accelerate launch`; without accelerators it takes its option for several of them to start several processes."""
    options = ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    options += ["--num_processes", str(num_processes), "--main_process_port", str(_free_port())]
    return _run(["accelerate.commands.launch", *options, str(script), *arguments], timeout)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(module: list[str], timeout: int) -> str:
    command = [sys.executable, "-m", *module]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def leave() -> None:
    """End a script that ran in several processes, after its work is done and written.

    Together, or one leaves while the other is still talking; and without the interpreter's own farewell, in which gloo's threads
    now and then abort a process that has finished ("terminate called without an active exception", about one run in ten).
    """
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
