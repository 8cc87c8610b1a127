"""What the stack says before it starts, and what it leaves when it ends."""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.local.stack import Ports, Stack

SERVER = ("http.server", "0", "--bind", "127.0.0.1")


def test_five_ports_move_together() -> None:
    assert Ports(9000).named == {"api": 9000, "https": 9001, "sandbox": 9002, "issuer": 9003, "aws": 9004}


def test_says_which_port_is_taken_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(SystemExit, match=rf"Port {port} \(issuer\) is taken\. .* PORT="):
            Ports(port - 3).check()


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with ExitStack() as running:
        stack = Stack(running, Ports(9000), tmp_path)
        stack._spawn("server", Path(sys.executable), *SERVER)
        process = stack._children["server"]

        assert process.poll() is None

    assert process.poll() == -signal.SIGTERM


def test_what_it_started_ends_even_if_it_cannot_say_so() -> None:
    command = [sys.executable, "-m", "infra.local.lifeline", *SERVER]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S603 - our own

    _, _ = process.communicate(timeout=30)  # closes its standard input, as the end of this process would

    assert process.returncode == -signal.SIGTERM
