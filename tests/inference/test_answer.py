"""What a generation has come to, in the words of the protocol."""

from __future__ import annotations

from tests.engine.models import TOKENIZER
from trainer.engine.batching import Begun
from trainer.engine.continuation import Piece
from trainer.engine.likelihoods import Likelihoods, TokenLikelihood
from trainer.engine.tokenization import END_OF_TEXT_ID
from trainer.inference.request import GenerationSettings
from trainer.inference.service.answer import Answer


def likely(token: int) -> Likelihoods:
    return Likelihoods(TokenLikelihood(token, -1.0), [])


def test_the_mark_that_ends_a_text_is_told_beside_its_tokens() -> None:
    [token] = TOKENIZER.encode("x")
    answer = Answer(Begun(GenerationSettings(logprobs=0), 1, 1), TOKENIZER)
    event = answer.take(Piece("x", 1, likelihoods=likely(token)))
    assert event is not None
    assert [one["token"] for one in event["logprobs"]] == ["x"]
    assert answer.take(Piece("", 1, "end_of_text", likelihoods=likely(END_OF_TEXT_ID))) is None
    done = answer.done(1.0)
    assert done["logprobs"] == event["logprobs"]
    assert done["end_logprob"] == {
        "token": "",
        "id": END_OF_TEXT_ID,
        "bytes": [],
        "logprob": -1.0,
        "top": [],
    }
