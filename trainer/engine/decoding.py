"""What a model expects next, one token after the other: the fast way on each kind of device."""

from __future__ import annotations

import torch

from trainer.engine.device_decoding import Autocast, Decoder
from trainer.engine.host_decoding import HostDecoder
from trainer.engine.model import GPT

__all__ = ["Autocast", "Decoder", "HostDecoder", "decoder_for"]


def decoder_for(
    model: GPT, device: torch.device, autocast: Autocast, *, read_only: bool = False
) -> Decoder:
    """Return what writes fastest with a model that is on a device.

    Args:
        autocast: makes the context of a forward pass on a GPU. On the CPU texts are written in
            fp32, which is the faster format for one token and the same on every machine.
        read_only: the model will not learn any more, and its weights may be laid out anew in
            place; else a decoder may take copies of them.
    """
    if device.type == "cpu":
        return HostDecoder(model, read_only=read_only)
    return Decoder(model, device, autocast)
