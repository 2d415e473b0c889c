"""What a number was measured on: processor, memory, versions, revision; and the memory that is free."""

import datetime
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy")


def describe() -> dict[str, Any]:
    """The machine and the software, as one JSON object."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "load": os.getloadavg()[0],  # runnable processes before the first measurement
        "system": platform.platform(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "revision": _git("rev-parse", "--short", "HEAD") or "unknown",
        "changed": bool(_git("status", "--porcelain")),  # files differ from that revision
    }


def free_bytes() -> int:
    """Main memory that a new process may use."""
    field = _field("/proc/meminfo", "MemAvailable")
    return int(field.split()[0]) * 1024 if field else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _field(path: str, name: str) -> str:
    if not Path(path).exists():  # not Linux
        return ""
    found = re.search(rf"^{name}\s*:\s*(.*)$", Path(path).read_text(), re.MULTILINE)
    return found[1] if found else ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:  # no git
        return ""
