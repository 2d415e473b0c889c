from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from smdsb_jax.run import loop, memory
from smdsb_jax.run.loop import train_and_evaluate
from smdsb_jax.run.memory import (
    Need,
    describe_need,
    host_bytes,
    memory_budget,
    needed_bytes,
    refuse_too_much,
    room_to_keep,
)
from tests.shared import step_without_network
from tests.tiny_run import tiny_config


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


@pytest.mark.parametrize(
    "line, folder, names",
    [
        ("0::/jobs/7", "jobs", ("memory.max", "memory.current")),  # version 2: its parent's limit
        ("4:memory:/jobs/7", "memory/jobs/7", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_a_control_groups_limit_counts_less_what_it_uses_but_for_its_cache(line, folder, names, tmp_path):
    meminfo, own, groups = (tmp_path / name for name in ("meminfo", "own", "groups"))
    meminfo.write_text("MemAvailable:      64 kB\n")
    own.write_text(f"3:cpu:/other\n{line}\n")
    (groups / folder).mkdir(parents=True)
    (groups / "memory.max").write_text("max\n")  # none
    (groups / "memory.current").write_text("7\n")
    for name, value in zip((*names, "memory.stat"), ("40000", "30000", "inactive_file 5000\n"), strict=True):
        (groups / folder / name).write_text(value)
    assert host_bytes(meminfo, own, groups) == 15000
    assert host_bytes(meminfo, tmp_path / "none", groups) == 64 * 1024


def test_a_programs_need_is_what_its_compiler_tells(monkeypatch):
    program = jax.jit(lambda x, y: (x + 1, (x @ y).sum()), donate_argnums=0)
    kind = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    compiled = program.lower(kind, kind).compile()
    need = needed_bytes(compiled)
    square = 64 * 64 * 4
    assert need.given == 2 * square and square <= need.added < 2 * square  # x + 1 takes x's place
    monkeypatch.setattr(type(compiled), "memory_analysis", lambda self: None)
    assert needed_bytes(compiled) is None


def test_what_a_step_needs_is_told_with_what_there_is():
    need = Need(given=2**29, added=2**30)
    assert describe_need(need, 3 * 2**30) == "a step needs 1.5 GiB of the 3.5 GiB that there are."
    assert describe_need(need, None) == "a step needs 1.5 GiB."
    assert describe_need(need, None, kept=True) == "a step needs 1.5 GiB; its memory stays between steps."
    assert "does not tell" in describe_need(None, 2**30)


def test_too_large_a_step_is_refused_with_what_fits():
    need = Need(2**30, 8 * 2**30)
    refuse_too_much(need, 8 * 2**30, 32, 1, 1)
    for silent in ((None, 1), (need, None)):
        refuse_too_much(*silent, 32, 1, 1)
    with pytest.raises(ValueError) as refused:
        refuse_too_much(need, 3 * 2**30, 32, 4, 1)
    assert str(refused.value) == (
        "A step of 32 clouds of each domain needs 9.00 GiB, and there are 4.00 GiB: about 12 clouds of each "
        "domain fit (config.batch_size), or all of them in parts with --config.accumulate=4."
    )
    with pytest.raises(ValueError, match=r"fit \(config.batch_size\)\.$"):  # joint losses have no parts
        refuse_too_much(need, 3 * 2**30, 32, 4, None)
    with pytest.raises(ValueError, match="accumulate=8"):  # of 2 parts already
        refuse_too_much(need, 3 * 2**30, 32, 1, 2)
    with pytest.raises(ValueError, match=": take fewer points, or a smaller encoder"):
        refuse_too_much(need, 2**20, 32, 4, 1)


def test_a_run_whose_step_does_not_fit_is_refused_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", step_without_network)
    monkeypatch.setattr(loop, "needed_bytes", lambda program: Need(0, 2**62))
    with pytest.raises(ValueError, match=r"A step of 8 clouds of each domain needs \d+.00 GiB"):
        train_and_evaluate(tiny_config(stages=(1,)), tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())
    assert not (tmp_path / "metrics.jsonl").read_text()


def test_a_training_may_grow_by_less_than_two_blocks_or_by_256_mib():
    assert room_to_keep(Need(given=1, added=2**30), 2**32) == 1.75 * 2**30
    assert room_to_keep(Need(given=1, added=2**20), 2**32) == 2**28


def test_nothing_stays_where_there_is_less_than_four_times_a_step_or_no_telling(monkeypatch):
    need = Need(given=1, added=2**30)
    assert room_to_keep(need, 2**32 - 1) is room_to_keep(need, None) is room_to_keep(None, 2**32) is None
    monkeypatch.setattr(memory.jax, "default_backend", lambda: "gpu")
    assert room_to_keep(need, 2**32) is None


def test_what_is_free_goes_back_after_the_step_that_grew(tmp_path, monkeypatch):
    """The loop asks after each step, and carries the answer on."""
    asked = []

    def give_back_beyond(kept):
        asked.append(kept)
        return kept and kept._replace(most=kept.most + 1)

    monkeypatch.setattr(loop, "train_step", step_without_network)
    monkeypatch.setattr(loop.pages, "keep_pages", lambda room: loop.pages.Kept(1000, room))
    monkeypatch.setattr(loop.pages, "give_back_beyond", give_back_beyond)
    train_and_evaluate(tiny_config(stages=(1,)), tmp_path)
    assert asked[:3] == [(1000, 2**28), (1001, 2**28), (1002, 2**28)]
