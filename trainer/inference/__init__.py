"""Writing and scoring text with a trained model, in a process of its own that viewers talk to."""
