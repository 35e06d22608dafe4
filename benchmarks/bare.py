"""The generator alone, without service, server and wire: ``python -m benchmarks.bare CHECKPOINT``.

Each line of its input is the settings of a text; it writes the text and answers with a line that
tells how long it is and how long that took. Threads and niceness are the service's.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch

from trainer.engine import checkpoint
from trainer.engine.decoding import decoder_for
from trainer.engine.generation import Generation
from trainer.inference.request import GenerationSettings
from trainer.inference.service.priority import yield_to_others


def main() -> None:
    """Write texts until the input ends."""
    yield_to_others()
    device = torch.device("cpu")
    loaded = checkpoint.load_model(Path(sys.argv[1]), device)
    decoder = decoder_for(loaded.model, device, nullcontext, read_only=True)
    for line in sys.stdin:
        settings = GenerationSettings.from_values(json.loads(line))
        began = time.perf_counter()
        pieces = Generation(decoder, loaded.tokenizer, settings).pieces()
        first = next(pieces)
        first_seconds = time.perf_counter() - began
        *_, last = first, *pieces
        told = {"tokens": last.tokens, "seconds": time.perf_counter() - began}
        sys.stdout.write(json.dumps(told | {"first_seconds": first_seconds}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
