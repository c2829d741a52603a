"""Buttons: what the kernel says about them through /dev/input.

Every board's reset button arrives as a key (gpio-keys, an ACPI device, a USB panel). A device
may come and go; the folder is looked through again and again.
"""

import os
import selectors
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

DEVICES = Path("/dev/input")
# linux/input-event-codes.h. No keyboard for typing has them.
RESET_KEYS = frozenset(
    {
        0x198,  # KEY_RESTART: what device trees call a reset button
        0x211,  # KEY_WPS_BUTTON
        0x168,  # KEY_VENDOR
    }
)
# struct input_event of a 64-bit kernel: time (two longs), type, code, value.
EVENT = struct.Struct("llHHi")
_EV_KEY = 1
_DOWN, _UP = 1, 0  # 2 is "still held"


@dataclass(frozen=True, slots=True)
class Key:
    """A key went down, or up; or its device went away while nobody knows how it stands."""

    code: int
    down: bool = False
    lost: bool = False


LOST = Key(code=0, lost=True)


def keys_of(data: bytes) -> Iterator[Key]:
    """The keys that went down or up in whole events read from a device."""
    for at in range(0, len(data) - EVENT.size + 1, EVENT.size):
        _, _, kind, code, value = EVENT.unpack_from(data, at)
        if kind == _EV_KEY and value in (_DOWN, _UP):
            yield Key(code, down=value == _DOWN)


class Buttons:
    """All input devices of a folder, opened as they appear."""

    def __init__(self, folder: Path = DEVICES) -> None:
        self._folder = folder
        self._selector = selectors.DefaultSelector()
        self._open: dict[str, int] = {}

    def rescan(self) -> None:
        """Open what is new. What cannot be read (yet: udev sets the rights) is left for later."""
        for path in sorted(self._folder.glob("event*")):
            if path.name in self._open:
                continue
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            self._open[path.name] = fd
            self._selector.register(fd, selectors.EVENT_READ, path.name)

    def wait(self, seconds: float) -> tuple[Key, ...]:
        """What was pressed or let go within so many seconds; returns as soon as there is any."""
        found: list[Key] = []
        for key, _ in self._selector.select(seconds):
            found += self._read(key.fd, key.data)
        return tuple(found)

    def _read(self, fd: int, name: str) -> Iterable[Key]:
        try:
            data = os.read(fd, EVENT.size * 64)
        except BlockingIOError:
            return ()
        except OSError:
            data = b""
        if not data:  # it was unplugged
            self._selector.unregister(fd)
            os.close(fd)
            del self._open[name]
            return (LOST,)
        return tuple(keys_of(data))

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        self._selector.close()
