"""One torch thread and reproducible examples for every test in this folder."""

import hypothesis
import torch

hypothesis.settings.register_profile("unit", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("unit")
torch.set_num_threads(1)
