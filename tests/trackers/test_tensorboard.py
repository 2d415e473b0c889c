import math

import numpy as np
import pytest
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from smdsb_jax.run.records import open_reporter


def log(workdir, first, last, resumed_from=(0, 0)):
    with open_reporter(workdir, resumed_from) as reporter:
        for step in range(first, last + 1):
            reporter.scalars(1, step, {"loss/class": 1 / step, "target/accuracy": math.nan})


def events(workdir):
    """The TensorBoard events of a run, read by the record format: length, its CRC, data, its CRC."""
    found = []
    for file in sorted((workdir / "tensorboard").iterdir()):
        data = file.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[12 + length + 4 :]
    return found


def test_it_holds_the_scalars_and_purges_what_a_resumed_run_repeats(tmp_path):
    log(tmp_path, 1, 3)
    log(tmp_path, 3, 4, resumed_from=(1, 2))
    found = events(tmp_path)
    starts = [e.step for e in found if e.HasField("session_log")]
    assert starts == [0, 3]  # TensorBoard forgets what it has from these steps on
    scalars = [(e.step, v.tag, v.simple_value) for e in found for v in e.summary.value]
    losses = [(step, value) for step, tag, value in scalars if tag == "loss/class"]
    assert [step for step, _ in losses] == [1, 2, 3, 3, 4]
    np.testing.assert_allclose([value for _, value in losses], [1, 1 / 2, 1 / 3, 1 / 3, 1 / 4], rtol=1e-6)
    assert all(math.isnan(value) for _, tag, value in scalars if tag == "target/accuracy")


def test_it_closes_when_the_run_fails(tmp_path):
    with pytest.raises(KeyError), open_reporter(tmp_path) as reporter:
        reporter.scalars(1, 1, {"loss/class": 1.0})
        raise KeyError
    assert [e.step for e in events(tmp_path) if e.summary.value] == [1]


def test_a_full_disk_is_told_at_the_record_and_nothing_waits(tmp_path, monkeypatch):
    write = EventsWriter.flush

    def full(writer):
        monkeypatch.setattr(EventsWriter, "flush", write)  # there is room again when it is closed
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*metrics\.jsonl'"):
        with open_reporter(tmp_path) as reporter:
            monkeypatch.setattr(EventsWriter, "flush", full)
            reporter.scalars(1, 1, {"loss/class": 1.0})
