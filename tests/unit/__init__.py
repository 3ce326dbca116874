"""Tests of the training loop's own modules: no Ray, vLLM or DeepSpeed process is started here."""
