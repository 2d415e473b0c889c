"""Files that are written whole or not at all, and folders that one process at a time writes to."""

import contextlib
import errno
import fcntl
import os
import platform
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new path beside `path` to write to, which takes its place at the end of the block.

    Where the block raises, `path` is as it was and nothing is left beside it. Its folder is made. The new
    path has the same ending, by which some writers know the format, and a name that no one else has.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


LOCK = ".writer.lock"


@contextlib.contextmanager
def only_writer(folder: str | os.PathLike[str], remedy: str) -> Iterator[None]:
    """Hold a folder, which is made, until the block ends or the process does, however it does.

    The lock is the operating system's on a hidden file, which tells who has it; that the file is there says
    nothing. On a file system that has no locks, or cannot be written to, nothing is held. A folder that was
    made here, and in which the block has left nothing when it raises, is gone again.

    Args:
      folder: that others must not write to meanwhile.
      remedy: what to do where another has it.

    Raises:
      ValueError: another process has it; names that.
    """
    folder = Path(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = _locked(folder / LOCK, f"is writing here. {remedy}")
    except OSError as error:  # whoever only reads, as of a finished run, needs none
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        yield
        return
    with lock as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        try:
            yield
        except BaseException:
            if made and [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                folder.rmdir()
            raise
        finally:
            file.truncate(0)


def _locked(path: Path, otherwise: str) -> TextIO:
    """The open file with its lock, which closing it gives back."""
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            return file
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        file.close()
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise ValueError(f"{path.parent}: {holder} {otherwise}") from None
    return file
