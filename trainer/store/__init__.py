"""The run folder: the plain files and the one database through which every process meets."""
