"""TensorBoard's view of a run: one event file, made anew from the logs whenever the run goes on.

The file is named by a random number: the usual one is named by the host.
"""

import secrets
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import google_crc32c
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

FOLDER = "tensorboard"
_NAME = "events.out.tfevents."


class Board:
    """Writes the scalars of a run, a step an event.

    Args:
        run: The run's folder. Event files of before are removed.
    """

    def __init__(self, run: Path) -> None:
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        for old in folder.glob(f"{_NAME}*"):
            old.unlink()
        self._file = (folder / f"{_NAME}{int(time.time()):010d}.{secrets.token_hex(4)}").open("wb")
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, step: int, values: Mapping[str, float], *, ago: float = 0.0) -> None:
        """Add a step, which was `ago` seconds before now."""
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(wall_time=time.time() - ago, step=step, summary=Summary(value=scalars)))

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: Event) -> None:
        # A record of TFRecord: length, its crc, data, their crc.
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        self._file.write(length + _masked(length) + data + _masked(data))


def _masked(data: bytes) -> bytes:
    crc = int(google_crc32c.value(data))
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
