"""What a run will take, before it is started: from earlier runs, or by a trial."""
