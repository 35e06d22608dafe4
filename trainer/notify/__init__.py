"""Telling others how a run has ended: a webhook, and the small process that posts to it."""
