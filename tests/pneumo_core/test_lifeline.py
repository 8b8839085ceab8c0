"""A process ends with the one that started it, whenever that dies."""

import socket
import subprocess
import sys

import pytest

SETTLE = "import sys; from pneumo_core import lifeline; lifeline.settle(int(sys.argv[1])); print('lives')"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word is Linux'")
@pytest.mark.parametrize("parent_died", [False, True])
def test_a_process_whose_parent_died_while_it_started_ends_before_it_loads_anything(parent_died: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if parent_died:
            ours.close()
        command = (sys.executable, "-c", SETTLE, str(theirs.fileno()))
        ended = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, text=True, check=True)
    assert ended.stdout == ("" if parent_died else "lives\n")
