"""Whether a disk still answers. A pulled SAS disk sends no event: only reading it tells."""

import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from pathlib import Path

BLOCK_BYTES = 4096
ANSWER_SECONDS = 8.0
SPREAD_BLOCKS = 64
NUMBERS = Path("/sys/dev/block")


def exists(number: str) -> bool:
    """Whether the kernel still knows the device with this number, such as 8:18."""
    return (NUMBERS / number).exists()


def state_of(number: str) -> str:
    """The SCSI state of the disk that a partition is on: running, offline, ...; or nothing."""
    folder = (NUMBERS / number).resolve()
    for place in (folder, folder.parent):
        try:
            return (place / "device" / "state").read_text().strip()
        except OSError:
            continue
    return ""


def read_past_cache(device: str, turn: int = 0) -> None:
    """Read a block from the medium itself (O_DIRECT). Raises OSError when it does not answer."""
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, BLOCK_BYTES) as buffer:
            offset = (turn % SPREAD_BLOCKS) * BLOCK_BYTES
            if os.preadv(fd, [buffer], offset) != BLOCK_BYTES:
                raise OSError("the disk ends too early")
    finally:
        os.close(fd)


class Prober:
    """Reads in a thread, since a dying disk may keep a reader waiting for minutes."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self._waiting: Future[None] | None = None
        self._turn = 0

    def answers(self, device: str) -> bool:
        """Whether a block can be read within a few seconds."""
        if self._waiting is not None and not self._waiting.done():
            return False  # the last reader still waits
        self._turn += 1
        self._waiting = self._pool.submit(read_past_cache, device, self._turn)
        try:
            self._waiting.result(ANSWER_SECONDS)
        except (OSError, TooLate):
            return False
        return True

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
