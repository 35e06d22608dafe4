"""The part of OpenAI's HTTP interface that a base model can serve, for programs written for it."""
