"""What a run on a real checkpoint will take, before it is begun: an estimate, a rehearsal, a random one to try with."""
