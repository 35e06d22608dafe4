"""A small model with opinions, its tokenizer, and texts that are hard to cut into tokens."""

from __future__ import annotations

from typing import Any

import torch

from trainer.config import ModelShape
from trainer.engine.checkpoint import LoadedModel
from trainer.engine.model import GPT
from trainer.engine.tokenization import Tokenizer

SHAPE = ModelShape(layers=2, width=32, heads=4, kv_heads=2, hidden=48)
TOKENIZER = Tokenizer.train([" the <unk> sat on the mat <unk> .\n" * 60], 290)
STEPS = 120
RHYME = """\
For want of a nail the shoe was lost; for want of a shoe the horse was lost;
for want of a horse the rider was lost; for want of a rider the message was lost;
for want of a message the battle was lost; for want of a battle the kingdom was lost;
and all for the want of a horseshoe nail, the miller said, who had sold it.
"""
ODD_TEXTS = (
    " <unk>",
    "a<unk> <unk>,<unk>",
    "<|endoftext|>",
    " the <|endoftext|> mat",
    "caf\u00e9 e\u0301 \U0001f389\u200d \u65e5\u672c \u0627\u0644 \u0939\u093f",
    "\n\n = Title = \n\tx\0y",
    "  two   blanks \r\n\u00a0\u2003\u3000\ufeff \u2028 end  ",
    "I'll don't THEY'RE 's it's' 1234 \u00bd\u00b2 \u2167 \u0663 12.5% @-@",
    "aaaa" * 50,
)


def small_model(context: int, **payload: Any) -> LoadedModel:
    """Return a model that was never trained, with the payload of a short training."""
    torch.manual_seed(3)
    model = GPT(SHAPE, TOKENIZER.vocab_size, context).eval()
    # Fresh weights expect every token alike; these have opinions.
    torch.nn.init.normal_(model.embedding.weight, std=0.5)
    told = {
        "corpus_label": "mats",
        "context": context,
        "vocab_size": TOKENIZER.vocab_size,
        "step": 1200,
        "standing": {"tokens": 2_450_000, "elapsed_seconds": 61.0},
        "val_loss": 3.5,
        "val_word_perplexity": 120.25,
        "evaluated_step": 1000,
    }
    return LoadedModel(model, TOKENIZER, told | payload)


def trained_model(context: int) -> LoadedModel:
    """Return a model that knows a rhyme by heart, so that it is sure of its words."""
    torch.manual_seed(5)
    tokenizer = Tokenizer.train([RHYME], 320)
    model = GPT(SHAPE, tokenizer.vocab_size, context)
    tokens = torch.tensor(tokenizer.encode(RHYME * 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(STEPS):
        starts = torch.randint(len(tokens) - context, (4, 1))
        windows = tokens[starts + torch.arange(context + 1)]
        optimizer.zero_grad()
        model.loss(windows[:, :-1], windows[:, 1:]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    payload = {"context": context, "vocab_size": tokenizer.vocab_size, "step": STEPS}
    return LoadedModel(model.eval(), tokenizer, payload)
