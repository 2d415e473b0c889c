from types import SimpleNamespace

from smdsb_jax.run import memory
from smdsb_jax.run.memory import host_bytes, memory_budget


def test_the_budget_is_a_share_of_what_is_free(monkeypatch):
    assert 2**26 < memory_budget() <= 4 * 2**30
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 5 * 2**30, "bytes_in_use": 2**30})
    monkeypatch.setattr(memory.jax, "local_devices", lambda: [device])
    assert memory_budget() == 2 * 2**30
    device.memory_stats = lambda: {"bytes_limit": 80 * 2**30, "bytes_in_use": 0}
    assert memory_budget() == 4 * 2**30


def test_the_hosts_memory_is_known_with_and_without_meminfo(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       100 kB\nMemAvailable:      64 kB\n")
    assert host_bytes(path) == 64 * 1024
    path.write_text("MemTotal:       100 kB\n")
    assert host_bytes(path) == host_bytes(tmp_path / "none") > 2**28
