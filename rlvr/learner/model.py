"""The policy as the learner sees it: hidden states of response tokens, and the log-probs of sampled tokens.

Full-vocabulary tensors never leave this module: the head is applied a chunk of tokens at a time.
Shapes: `t` response tokens, `H` hidden size, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rlvr.config import ModelConfig
from rlvr.divergence import linear_dist_stats
from rlvr.divergence.linear import gemm
from rlvr.errors import ConfigError
from rlvr.learner.causal_lm import load_lm, read_config
from rlvr.learner.packing import MicroBatch
from rlvr.learner.sharded import restore_tables, sharded_loading

HeadUse = Callable[[Tensor, Tensor], Any]  # (hidden states [t, H], head [V, H]) -> anything
WORKSPACE_MB = 1300  # logits of one chunk of tokens
# Output transforms between head and softmax that the chunked head does not apply.
UNSUPPORTED_OUTPUT = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class LinearLogp(torch.autograd.Function):
    """log softmax(hidden W^T / temperature)[ids] with the logits recomputed in backward, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, ids: Tensor, temperature: float, backend: str
    ) -> Tensor:
        stats = linear_dist_stats(
            hidden,
            weight,
            ids=ids,
            want=("logp_p", "lse_p"),
            temperature=temperature,
            max_workspace_mb=WORKSPACE_MB,
            backend=backend,
            validate=False,
        )
        assert stats.logp_p is not None  # it was asked for
        ctx.save_for_backward(hidden, weight, ids, stats.lse_p)
        ctx.temperature = temperature
        return stats.logp_p

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, None, None, None]:
        """d logp / d logits = (onehot(id) - softmax) / temperature."""
        hidden, weight, ids, lse = ctx.saved_tensors
        scaled = grads[0] / ctx.temperature
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        rows = max(1, int(WORKSPACE_MB * 1e6 / 4) // (2 * weight.shape[0]))
        buffer = torch.empty(min(rows, len(ids)), weight.shape[0], dtype=torch.float32, device=weight.device)
        for start in range(0, len(ids), rows):
            part = slice(start, start + rows)
            logits = buffer[: len(ids[part])]
            gemm(hidden[part], weight, logits)  # in fp32, as forward made them
            grad_logits = logits.div_(ctx.temperature).sub_(lse[part, None]).exp_().mul_(-scaled[part, None])
            index = torch.arange(grad_logits.shape[0], device=ids.device)
            grad_logits[index, ids[part]] += scaled[part]
            grad_logits = grad_logits.to(weight.dtype)
            grad_hidden[part] = grad_logits @ weight
            grad_weight += grad_logits.T @ hidden[part]
        return grad_hidden, grad_weight.to(weight.dtype), None, None, None


class PolicyModel(nn.Module):
    """A causal language model whose forward returns log-probs [t] of the response tokens, in fp32."""

    lm: Any  # a transformers model for causal language modelling

    def __init__(self, lm: nn.Module, temperature: float, divergence_backend: str = "auto") -> None:
        super().__init__()
        self.lm = lm
        self.temperature = temperature
        self.divergence_backend = divergence_backend

    @property
    def head(self) -> Tensor:
        return self.lm.get_output_embeddings().weight

    def hidden(self, micro: MicroBatch) -> Tensor:
        """[t, H] final hidden states at the positions that predict the response tokens."""
        # Right padding under causal attention needs no mask: no token looks to its right.
        output = self.lm.base_model(input_ids=micro.input_ids, use_cache=False)
        return output.last_hidden_state[micro.row, micro.column]

    def forward(self, micro: MicroBatch, use: HeadUse | None = None) -> Any:
        """Log-probs [t] of the response tokens, or what `use` makes of the hidden states [t, H] and the head [V, H].

        Sharded parameters are whole only while the root module's forward runs, and a tied head is released by the
        embedding whose weight it is; so what needs the head runs in here.
        """
        if use is not None:
            return use(self.hidden(micro), self.head)
        return LinearLogp.apply(
            self.hidden(micro), self.head, micro.target, self.temperature, self.divergence_backend
        )


def load_policy(
    cfg: ModelConfig,
    folder: str,
    temperature: float,
    *,
    zero3: dict[str, Any] | None = None,
    divergence_backend: str = "auto",
    key: str | None = None,
) -> PolicyModel:
    """Load a Hugging Face causal LM from a folder or the hub; with a ZeRO-3 configuration, in shards.

    `key` is the setting that named it, for messages; unless given `model.path`.

    Raises:
        ConfigError: not a causal LM, a head with a bias or an output transform, or flash-attn missing.
    """
    key = key or f"model.path={cfg.path}"
    config = read_config(key, folder, cfg.trust_remote_code)
    text = config.get_text_config(decoder=True)  # multimodal models nest it
    for name in UNSUPPORTED_OUTPUT:
        if getattr(text, name, None) not in (None, 1.0):
            raise ConfigError(
                f"{key}: its configuration sets {name}; models that transform their logits "
                "after the head are not supported"
            )
    with sharded_loading(zero3):
        lm = load_lm(
            key, folder, dtype=cfg.dtype, attention=cfg.attention, trust_remote_code=cfg.trust_remote_code
        )
    if zero3 is not None:
        restore_tables(lm)
    if getattr(lm.get_output_embeddings(), "bias", None) is not None:
        raise ConfigError(f"{key}: its output head has a bias, which is not supported")
    if cfg.gradient_checkpointing:
        lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return PolicyModel(lm, temperature, divergence_backend)
