"""What the operating system knows of processes: who lives, since when, and how much memory they hold."""

import os
import socket
import subprocess
from functools import cache
from pathlib import Path


def start_time(pid: int) -> str:
    """Return the start time of process `pid` in clock ticks since boot, empty when it is gone or a zombie.

    Without /proc start times are unknown; a live process is then just "alive".
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _alive(pid)
    return "" if after_name[0] == "Z" else after_name[19]


@cache
def place() -> str:
    """Return where a pid of this process means something: host, boot and, for containers, pid namespace."""
    boot, namespace = "", ""
    if Path("/proc/self/stat").exists():
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    return "/".join((socket.gethostname(), boot, namespace))


def resident_bytes(pid: int) -> int:
    """Return the resident memory of process `pid`, 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0 if Path("/proc/self/stat").exists() else _resident_bytes_elsewhere(pid)


def _alive(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"


def _resident_bytes_elsewhere(pid: int) -> int:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return int(shown) * 1024 if shown.strip() else 0
