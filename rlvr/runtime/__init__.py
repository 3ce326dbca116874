"""What a run is made of between the command and the stages: its inputs, actors, folder, checkpoints and console."""
