"""The dialogs of the terminal view, one a file."""
