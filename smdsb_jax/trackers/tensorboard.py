"""TensorBoard, by files alone."""

import contextlib
import time
from typing import Any

from smdsb_jax.trackers.base import Numbers, Start, Tracker


def tensorboard(start: Start) -> Tracker:
    """Event files below `tensorboard/`, flushed at every record   [https://www.tensorflow.org/tensorboard].

    Each start of a run begins a file. A resumed one tells TensorBoard to forget what earlier files have from
    there on, so that a step that comes again is shown once.

    Raises:
      OSError: from `scalars`, where the disk is full.
    """
    # Here: it imports PyTorch where that is installed. Not `SummaryWriter`: its thread dies of a full disk,
    # and what waits for that thread waits forever.
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2
    from tensorboardX.summary import scalar

    protos: Any = event_pb2  # made at run time: their types are not known before

    folder = start.workdir / "tensorboard"
    folder.mkdir(exist_ok=True)
    # two starts in one second are two files
    board = EventsWriter(str(folder / "events"), ".{}.{}".format(*start.resumed_from))
    # what earlier files have from there on is void
    begin = start.resumed_from[1] + 1 if any(start.resumed_from) else 0
    log = protos.SessionLog(status=protos.SessionLog.START)
    board.write_event(protos.Event(wall_time=time.time(), step=begin, session_log=log))

    def scalars(stage: int, step: int, values: Numbers) -> None:
        for name, value in values.items():
            board.write_event(protos.Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
        board.flush()

    def close(failed: bool) -> None:
        with contextlib.suppress(OSError):  # each record has been flushed, or was told
            board.close()

    return Tracker(scalars, close)
