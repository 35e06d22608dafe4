"""TensorBoard's event files: records of protobuf messages, each with two checksums.

Only the few messages that curves and texts need are written, by hand: the library that would do
it brings far more than this. The record is that of TFRecord
(https://www.tensorflow.org/tutorials/load_data/tfrecord), the messages are ``Event`` and
``Summary`` of tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

FILE_VERSION = "brain.Event:2"

_CASTAGNOLI = 0x82F63B78  # The polynomial of CRC-32C, its bits in reverse (RFC 3720, 12.1).
_MASK_DELTA = 0xA282EAD8
_DT_STRING = 7
_DATA_CLASS_TENSOR = 2


def file_head(wall_time: float) -> bytes:
    """Return the first record of a file: which version of the format follows."""
    return _record(_double(1, wall_time) + _text(3, FILE_VERSION))


def scalars(wall_time: float, step: int, values: Mapping[str, float]) -> bytes:
    """Return a record with values at a step, each under its tag; stored as 32-bit floats.

    Args:
        wall_time: seconds since 1970.
    """
    summary = b"".join(_bytes(1, _text(1, tag) + _float(2, values[tag])) for tag in values)
    return _event(wall_time, step, summary)


def text(wall_time: float, step: int, tag: str, content: str) -> bytes:
    """Return a record with a text at a step, which TensorBoard shows as Markdown."""
    shape = _bytes(2, _bytes(2, _whole(1, 1)))
    tensor = _whole(1, _DT_STRING) + shape + _text(8, content)
    metadata = _bytes(1, _text(1, "text")) + _whole(4, _DATA_CLASS_TENSOR)
    value = _text(1, tag) + _bytes(8, tensor) + _bytes(9, metadata)
    return _event(wall_time, step, _bytes(1, value))


def _event(wall_time: float, step: int, summary: bytes) -> bytes:
    return _record(_double(1, wall_time) + _whole(2, step) + _bytes(5, summary))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


# ---------------------------------------------------------------------- checksums


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_CASTAGNOLI if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes (RFC 3720, appendix B.4 has examples)."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    """Return the checksum as records hold it: turned and moved, lest it be checksummed itself."""
    crc = crc32c(data)
    turned = (crc >> 15 | crc << 17) + _MASK_DELTA
    return struct.pack("<I", turned & 0xFFFFFFFF)


# ---------------------------------------------------------------------- fields of a message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _whole(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _bytes(field, content.encode("utf-8", "replace"))


def _float(field: int, number: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", number)
