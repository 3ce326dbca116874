"""One of two learner ranks: load models under ZeRO-3 and say how much of each this rank holds.

Run as a program with rank, port and FOLDER DTYPE of every model; prints one JSON object a model, in a list.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["DS_ACCELERATOR"] = "cpu"  # before DeepSpeed is imported
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")

import torch

from rlvr.learner.deepspeed_api import join_ranks
from rlvr.learner.loading import load_trained
from rlvr.learner.model.policy import load_policy
from rlvr.learner.model.ulysses import SequenceShards
from rlvr.learner.scoring import needed_signals
from rlvr.learner.spec import LearnerSpec
from tests.helpers.update_probe import PLUGIN, settings


def probe(rank: int, port: int, folder: str, dtype: str) -> dict[str, object]:
    import deepspeed

    cfg = settings(3, dtype, 0.0)
    cfg.learner.workers = 2
    spec = LearnerSpec(cfg, folder, folder, needed_signals(PLUGIN, cfg.loss), PLUGIN, device="cpu")
    join_ranks(cfg.learner, "cpu", rank, cfg.learner.workers, ("127.0.0.1", port))
    plain = load_policy(cfg.model, folder, 1.0).lm
    whole = {name: p.detach() for name, p in plain.named_parameters()}
    lm = load_trained(spec, SequenceShards()).lm
    sharded, buffers = dict(lm.named_parameters()), dict(lm.named_buffers())
    held = sum(p.numel() + p.ds_tensor.numel() for p in sharded.values())
    different = [
        name
        for name, buffer in plain.named_buffers()
        if buffer.dtype != buffers[name].dtype or not torch.equal(buffer, buffers[name])
    ]
    for name, parameter in sharded.items():
        with deepspeed.zero.GatheredParameters([parameter]):
            if parameter.dtype != whole[name].dtype or not torch.equal(parameter.detach(), whole[name]):
                different.append(name)
    again = load_policy(cfg.model, folder, 1.0).lm  # the configuration is no longer live
    return {
        "parameters": sum(p.numel() for p in whole.values()),
        "held": held,
        "same_names": sharded.keys() == whole.keys(),
        "different": different,
        "whole_afterwards": sum(p.numel() for p in again.parameters()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank, port, *models = sys.argv[1:]
    pairs = zip(models[::2], models[1::2], strict=True)
    print(json.dumps([probe(int(rank), int(port), folder, dtype) for folder, dtype in pairs]))
