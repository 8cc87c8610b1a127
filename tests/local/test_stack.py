"""What the stack says before it starts."""

import socket

import pytest

from infra.local.stack import Ports


def test_five_ports_move_together() -> None:
    assert Ports(9000).named == {"api": 9000, "https": 9001, "sandbox": 9002, "issuer": 9003, "aws": 9004}


def test_says_which_port_is_taken_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(SystemExit, match=rf"Port {port} \(issuer\) is taken\. .* PORT="):
            Ports(port - 3).check()
