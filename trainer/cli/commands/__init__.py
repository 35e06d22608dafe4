"""The commands, a module a concern: each function parses, calls the run store and prints."""
