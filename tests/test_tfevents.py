"""The records of TensorBoard's event files, by published examples and worked-out bytes."""

from __future__ import annotations

import pytest

from trainer import tfevents


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4.
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_the_checksum_is_castagnolis(data: bytes, checksum: int) -> None:
    assert tfevents.crc32c(data) == checksum


def test_a_record_is_a_length_a_message_and_a_checksum_of_each() -> None:
    head = tfevents.file_head(0.0)
    message = b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2"
    assert head[:8] == len(message).to_bytes(8, "little")
    assert head[12:-4] == message
    assert len(head) == 8 + 4 + len(message) + 4


def test_a_value_stands_under_its_tag() -> None:
    event = tfevents.scalars(1.0, 300, {"a": 0.5})
    value = b"\x0a\x01a\x15\x00\x00\x00\x3f"
    assert event[12:-4] == (
        b"\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\xac\x02\x2a\x0a" + b"\x0a\x08" + value
    )
