"""The training engine: corpus, tokens, model, optimizer, evaluation and generation."""
