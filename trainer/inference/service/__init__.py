"""The process that holds models: ``python -m trainer.inference.service``.

Without arguments it belongs to the one client that started it, reads commands from its standard
input, writes events to its standard output as :mod:`trainer.inference.protocol` tells, and ends
when the input does. With ``--home`` it is the process that all clients of a workspace share; they
meet it at a socket (:mod:`trainer.inference.rendezvous`).

Only ``models``, ``answer``, ``tasks`` and what they import use torch; all else can listen before
torch is imported.
"""
