"""The policy as the learner sees it: hidden states of response tokens, and the log-probs of sampled tokens.

The head is applied a chunk of tokens at a time, here and for `rlvr.learner.distill`; no tensor has all of a batch.
Shapes: `t` response tokens, `H` hidden size, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlvr.config import LearnerConfig, ModelConfig
from rlvr.divergence import DistStats, OutputTransform, linear_dist_stats
from rlvr.divergence.linear import gemm
from rlvr.errors import ConfigError
from rlvr.learner.model.activations import checkpoint_layers
from rlvr.learner.model.causal_lm import check_supported, load_lm, output_transform, read_config
from rlvr.learner.model.rotary import settle_rotary
from rlvr.learner.model.sharded import restore_tables, sharded_loading
from rlvr.learner.model.shared_prompts import shared_hidden
from rlvr.learner.model.tiling import tile_feed_forward
from rlvr.learner.packing import MicroBatch

WORKSPACE_MB = 1300  # logits of one chunk of tokens

# What is in the names of the rates of dropout: attention_dropout, hidden_dropout, attn_pdrop, layerdrop and more; and
# what modules call the noise of their routers.
DROP, NOISE = "drop", ("jitter_noise", "moe_jitter_eps")


@dataclass(frozen=True, slots=True)
class Head:
    """What turns hidden states into logits, while its weight is whole."""

    weight: Tensor  # [V, H]
    transform: OutputTransform


HeadUse = Callable[[Tensor, Head], Any]  # (hidden states [t, H], head) -> anything


def head_stats(
    hidden: Tensor,
    head: Head,
    ids: Tensor,
    want: Sequence[str],
    *,
    temperature: float,
    backend: str,
    other: tuple[Tensor, Head] | None = None,
) -> DistStats:
    """`linear_dist_stats` of a head, P, and maybe of another model's hidden states and head, Q, within WORKSPACE_MB."""
    hidden_q, head_q = other if other is not None else (None, None)
    return linear_dist_stats(
        hidden,
        head.weight,
        hidden_q,
        None if head_q is None else head_q.weight,
        ids,
        want=want,
        temperature=temperature,
        transform_p=head.transform,
        transform_q=head.transform if head_q is None else head_q.transform,
        max_workspace_mb=WORKSPACE_MB,
        backend=backend,
        validate=False,
    )


class LinearLogp(torch.autograd.Function):
    """log softmax(f(hidden W^T) / temperature)[ids], f the model's transform of its outputs.

    The logits are computed again in backward, chunk by chunk.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        ids: Tensor,
        temperature: float,
        backend: str,
        transform: OutputTransform,
    ) -> Tensor:
        head, want = Head(weight, transform), ("logp_p", "lse_p")
        stats = head_stats(hidden, head, ids, want, temperature=temperature, backend=backend)
        assert stats.logp_p is not None  # it was asked for
        ctx.save_for_backward(hidden, weight, ids, stats.lse_p)
        ctx.temperature, ctx.transform = temperature, transform
        return stats.logp_p

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor | None, None, None, None, None]:
        """d logp / d outputs = (onehot(id) - softmax) / temperature * f'(outputs)."""
        hidden, weight, ids, lse = ctx.saved_tensors
        scaled = grads[0] / ctx.temperature

        def of_chunk(logits: Tensor, part: slice) -> Tensor:
            grad_logits = logits.div_(ctx.temperature).sub_(lse[part, None]).exp_().mul_(-scaled[part, None])
            grad_logits[torch.arange(len(grad_logits), device=ids.device), ids[part]] += scaled[part]
            return grad_logits

        trained = ctx.needs_input_grad[1]
        return *head_gradients(hidden, weight, ctx.transform, of_chunk, trained), None, None, None, None


class LinearLogpEntropy(torch.autograd.Function):
    """`LinearLogp`, and the entropy [t] of softmax(f(hidden W^T) / temperature) over the whole vocabulary."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        ids: Tensor,
        temperature: float,
        backend: str,
        transform: OutputTransform,
    ) -> tuple[Tensor, Tensor]:
        head, want = Head(weight, transform), ("logp_p", "lse_p", "entropy_p")
        stats = head_stats(hidden, head, ids, want, temperature=temperature, backend=backend)
        assert stats.logp_p is not None  # they were asked for
        assert stats.entropy_p is not None
        ctx.save_for_backward(hidden, weight, ids, stats.lse_p, stats.entropy_p)
        ctx.temperature, ctx.transform = temperature, transform
        return stats.logp_p, stats.entropy_p

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor | None, None, None, None, None]:
        """With p the softmax and H its entropy: d H / d logits = -p (log p + H) / temperature."""
        hidden, weight, ids, lse, entropy = ctx.saved_tensors
        of_logp, of_entropy = grads[0] / ctx.temperature, grads[1] / ctx.temperature

        def of_chunk(logits: Tensor, part: slice) -> Tensor:
            logp = logits.div_(ctx.temperature).sub_(lse[part, None])
            p = logp.exp()
            slope = logp.add_(entropy[part, None]).mul_(of_entropy[part, None]).add_(of_logp[part, None])
            grad_logits = slope.mul_(p).neg_()
            grad_logits[torch.arange(len(grad_logits), device=ids.device), ids[part]] += of_logp[part]
            return grad_logits

        trained = ctx.needs_input_grad[1]
        gradients = head_gradients(hidden, weight, ctx.transform, of_chunk, trained, extra=1)
        return *gradients, None, None, None, None


def head_gradients(
    hidden: Tensor,
    weight: Tensor,
    transform: OutputTransform,
    of_chunk: Callable[[Tensor, slice], Tensor],
    trained: bool,
    extra: int = 0,
    share: int = 1,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of hidden states [t, H] and, if it is trained, head [V, H] from that of the logits, a chunk at a time.

    `of_chunk` makes the gradient of a chunk's logits [r, V] (float32, may be overwritten) from them and the chunk's
    place; `extra` says how many more copies of the logits it holds within the workspace. A chunk has 1 / `share` of the
    rows that it else would have.
    """
    grad_hidden = torch.empty_like(hidden)
    grad_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if trained else None
    copies = (2 if transform.cap is None else 3) + extra  # of a chunk's logits, at a time
    rows = max(1, int(WORKSPACE_MB * 1e6 / 4) // (copies * weight.shape[0]))
    rows = max(1, -(-min(rows, len(hidden)) // share))
    buffer = torch.empty(min(rows, len(hidden)), weight.shape[0], dtype=torch.float32, device=weight.device)
    for start in range(0, len(hidden), rows):
        part = slice(start, start + rows)
        logits = buffer[: len(hidden[part])]
        gemm(hidden[part], weight, logits)  # in fp32, as forward made them
        slope = transform.slope(transform.apply_(logits))
        grad_logits = of_chunk(logits, part)
        if not transform.is_identity:
            grad_logits *= slope
        grad_logits = grad_logits.to(weight.dtype)
        grad_hidden[part] = grad_logits @ weight
        if grad_weight is not None and grad_logits.dtype == grad_weight.dtype:
            # In place, without a product as large as the head beside it.
            if start == 0:
                torch.mm(grad_logits.T, hidden[part], out=grad_weight)
            else:
                grad_weight.addmm_(grad_logits.T, hidden[part])
        elif grad_weight is not None:
            grad_weight += grad_logits.T @ hidden[part]
    return grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype)


class PolicyModel(nn.Module):
    """A causal language model whose forward returns log-probs [t] of the response tokens, in fp32."""

    lm: Any  # a transformers model for causal language modelling

    def __init__(
        self,
        lm: nn.Module,
        temperature: float,
        divergence_backend: str = "auto",
        share_prompts: bool = False,
    ) -> None:
        super().__init__()
        self.lm: Any = lm
        self.temperature = temperature
        self.divergence_backend = divergence_backend
        self.share_prompts = share_prompts
        self.transform = output_transform(self.lm.config)

    @property
    def head(self) -> Head:
        return Head(self.lm.get_output_embeddings().weight, self.transform)

    def hidden(self, micro: MicroBatch) -> Tensor:
        """[t, H] final hidden states at the positions that predict the response tokens."""
        # Where activations are computed again there are no keys and values to go on from.
        if self.share_prompts and not (self.training and self.lm.is_gradient_checkpointing):
            shared = shared_hidden(self.lm.base_model, micro)
            if shared is not None:
                return shared
        # Right padding under causal attention needs no mask: no token looks to its right.
        places = {} if micro.positions is None else {"position_ids": micro.positions}
        output = self.lm.base_model(input_ids=micro.input_ids, use_cache=False, **places)
        return output.last_hidden_state[micro.row, micro.column]

    def forward(self, micro: MicroBatch, use: HeadUse | None = None) -> Any:
        """Log-probs [t] of the response tokens, or what `use` makes of the hidden states [t, H] and the head.

        Sharded parameters are whole only while the root module's forward runs, and a tied head is released by the
        embedding whose weight it is; so what needs the head runs in here.
        """
        hidden, head = self.hidden(micro), self.head
        if use is not None:
            return use(hidden, head)
        return self._linear(LinearLogp, micro, hidden, head)

    def with_entropy(self, micro: MicroBatch) -> HeadUse:
        """For `forward`: log-probs [t] of the response tokens and the policy's entropies [t] there."""
        return lambda hidden, head: self._linear(LinearLogpEntropy, micro, hidden, head)

    def _linear(
        self, function: type[torch.autograd.Function], micro: MicroBatch, hidden: Tensor, head: Head
    ) -> Any:
        return function.apply(
            hidden, head.weight, micro.target, self.temperature, self.divergence_backend, head.transform
        )


def without_chance(lm: nn.Module) -> None:
    """Turn off dropout and the noise of routers, under which log-probs would differ from those of the engines."""
    from transformers import PretrainedConfig, PreTrainedModel

    copies: dict[int, PretrainedConfig] = {}
    for found in lm.modules():
        module: Any = found
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        _set_rates(module)
        # Falcon, among others, reads rates from its configuration. The model's own is written when it is exported.
        config = getattr(module, "config", None)
        if isinstance(config, PretrainedConfig) and not isinstance(module, PreTrainedModel):
            if id(config) not in copies:
                copies[id(config)] = deepcopy(config)
                _set_rates(copies[id(config)])
            module.config = copies[id(config)]


def _set_rates(holder: object) -> None:
    for name, value in list(vars(holder).items()):
        if isinstance(value, float) and (DROP in name or name in NOISE):
            setattr(holder, name, 0.0)


def load_policy(
    cfg: ModelConfig,
    folder: str,
    temperature: float,
    *,
    learner: LearnerConfig | None = None,
    zero3: dict[str, Any] | None = None,
    key: str | None = None,
) -> PolicyModel:
    """Load a Hugging Face causal LM from a folder or the hub; with a ZeRO-3 configuration, in shards.

    `key` is the setting that named it, for messages; unless given `model.path`. `learner` as in a new configuration
    unless given.

    Raises:
        ConfigError: not a causal LM, one that `check_supported` refuses, flash-attn missing, or layers that cannot be
            checkpointed or tiled as `learner` says.
    """
    key, learner = key or f"model.path={cfg.path}", learner or LearnerConfig()
    check_supported(key, read_config(key, folder, cfg.trust_remote_code), cfg)
    with sharded_loading(zero3):
        lm = load_lm(
            key, folder, dtype=cfg.dtype, attention=cfg.attention, trust_remote_code=cfg.trust_remote_code
        )
    if zero3 is not None:
        restore_tables(lm)
    settle_rotary(lm, cfg.max_length)
    if getattr(lm.get_output_embeddings(), "bias", None) is not None:
        raise ConfigError(f"{key}: its output head has a bias, which is not supported")
    without_chance(lm)
    if cfg.gradient_checkpointing:
        checkpoint_layers(lm, learner, key)
    if learner.mlp_tile_tokens:
        tile_feed_forward(lm, learner.mlp_tile_tokens, key)
    return PolicyModel(lm, temperature, learner.divergence_backend, learner.share_prompts)
