"""The learner: packing, token statistics, the loss, DeepSpeed and checkpoints."""
