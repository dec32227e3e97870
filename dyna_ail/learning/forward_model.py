"""The forward model f(s, a), the learned change of the state (Dyna-AIL Eq. 5), and where episodes end."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dyna_ail.config.learner import ForwardModelConfig
from dyna_ail.config.registry import FORWARD_MODELS
from dyna_ail.learning.networks import PairInput, Scaling, adam_step, mlp
from dyna_ail.learning.replay import ReplayBuffer, Transitions
from dyna_ail.learning.state import TrainedModule


class Dynamics(Protocol):
    """The network of one forward model. Built as ``Dynamics(obs_dim, action_dim, config)``, a ``torch.nn.Module``."""

    recurrent: bool
    """Whether it has a memory, and so is trained on sequences of ``config.sequence`` steps."""
    hidden_dim: int
    """Width of the memory; 0 for none."""

    def __call__(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised change and continuation logit ``[B, obs_dim + 1]``, and the new memory ``[B, hidden_dim]``.

        Of scaled ``obs [B, obs_dim]``, ``action [B, action_dim]`` and the memory ``hidden [B, hidden_dim]``.
        """
        ...


class MLPDynamics(nn.Module):
    """Concatenates the scaled state and action (MGAIL Fig. 4, top). Has no memory: ``hidden [B, 0]``."""

    def __init__(self, obs_dim: int, action_dim: int, config: ForwardModelConfig) -> None:
        super().__init__()
        self.recurrent, self.hidden_dim = False, 0
        self.net = mlp([obs_dim + action_dim, *config.hidden, obs_dim + 1], "silu")

    def forward(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised change and continuation logit ``[B, obs_dim + 1]``, and the memory."""
        return self.net(torch.cat([obs, action], -1)), hidden


class GRUDynamics(nn.Module):
    """State encoder with a GRU, action encoder, their Hadamard product, decoder (MGAIL Section 3.5, Fig. 4 bottom)."""

    def __init__(self, obs_dim: int, action_dim: int, config: ForwardModelConfig) -> None:
        super().__init__()
        width, *decoder = config.hidden
        self.recurrent, self.hidden_dim = True, width
        self.state_encoder = nn.GRUCell(obs_dim, width)
        self.action_encoder = mlp([action_dim, width, width], "silu")
        self.decoder = mlp([width, *decoder, obs_dim + 1], "silu")

    def forward(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised change and continuation logit ``[B, obs_dim + 1]``, and the new memory ``[B, width]``."""
        hidden = self.state_encoder(obs, hidden)
        return self.decoder(hidden * self.action_encoder(action)), hidden


class ForwardModel(TrainedModule):
    """An ensemble of K models; in a batch of B imagined rollouts each model carries B/K of them.

    The networks predict the change of the state divided by its standard deviation in the buffer, and the logit of the
    probability that the episode goes on. Components of the state that are not seen stay as they are. Imagined states
    are kept within the range of the buffer's states, widened on each side by 20% of that of its next states:
    long unrolls stay finite.
    """

    change_mean: Tensor
    change_std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, scaling: Scaling, config: ForwardModelConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = PairInput(scaling)
        seen, action_dim = self.inputs.seen, self.inputs.action_dim
        build = FORWARD_MODELS[config.architecture]
        self.members = nn.ModuleList(build(seen, action_dim, config) for _ in range(config.ensemble))
        for name, value in {"change_mean": 0.0, "change_std": 1.0, "low": -torch.inf, "high": torch.inf}.items():
            self.register_buffer(name, torch.full((seen,), value))
        self.optimizer = torch.optim.AdamW(
            self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )

    def initial_hidden(self, batch: int) -> Tensor:
        """Empty memory at the start of a rollout, ``[batch, hidden_dim]``."""
        return torch.zeros(batch, int(self.members[0].hidden_dim))  # type: ignore[arg-type]

    def predict(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The networks' raw output ``[B, seen + 1]`` and memory; row blocks of B/K go to the K members in turn."""
        obs, action = self.inputs.obs(obs), self.inputs.action(action)
        if len(self.members) == 1:
            out: tuple[Tensor, Tensor] = self.members[0](obs, action, hidden)
            return out
        blocks = zip(*(x.tensor_split(len(self.members)) for x in (obs, action, hidden)), strict=True)
        outputs, memories = zip(*(m(*block) for m, block in zip(self.members, blocks, strict=True)), strict=True)
        return torch.cat(outputs), torch.cat(memories)

    def forward(self, obs: Tensor, action: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One imagined step ``s' = s + f(s, a)``.

        Returns the next state ``[B, obs_dim]``, the probability ``[B]`` that the episode goes on, and the memory.
        """
        out, hidden = self.predict(obs, action, hidden)
        seen, unseen = obs.tensor_split([self.inputs.seen], -1)
        seen = (seen + self.change_mean + self.change_std * out[..., :-1]).clamp(self.low, self.high)
        return torch.cat([seen, unseen], -1), torch.sigmoid(out[..., -1]), hidden

    def loss(self, run: Transitions, mask: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Eq. 5 on normalised changes, plus the cross-entropy of the continuation.

        ``run`` is ``[L, B]`` consecutive transitions and ``mask [L, B]`` says which of them count. As in Eq. 5 the
        squares are summed over the state's components; we average over transitions where the paper sums.
        """
        hidden, outputs = self.initial_hidden(run.obs.shape[1]), []
        for obs, action in zip(run.obs, run.action, strict=True):
            out, hidden = self.predict(obs, action, hidden)
            outputs.append(out)
        predicted = torch.stack(outputs)
        target = (self._seen(run.next_obs - run.obs) - self.change_mean) / self.change_std
        squared = 0.5 * (predicted[..., :-1] - target).square().sum(-1)
        ending = F.binary_cross_entropy_with_logits(predicted[..., -1], (~run.terminated).float(), reduction="none")
        squared, ending = (squared * mask).sum() / mask.sum(), (ending * mask).sum() / mask.sum()
        return squared + ending, {"loss": squared.item(), "continuation_loss": ending.item()}

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Algorithm 1 line 7: train on the buffer, each member on its own draws.

        The number of steps is ``epochs`` passes over the buffer, within the configured bounds.

        Raises:
            NonFiniteError: the loss or its gradient is not finite.
        """
        c = self.config
        self._measure(replay.data)
        length = c.sequence if self.members[0].recurrent else 1
        updates = int(min(max(c.epochs * len(replay) / (c.batch_size * length), c.min_updates), c.max_updates))
        metrics: dict[str, float] = {}
        for _ in range(updates):
            loss, metrics = self.loss(*replay.sample_sequences(c.batch_size * c.ensemble, length, generator))
            # The members share nothing: K times the mean over the joint batch is the sum of their own losses (with the
            # gru, whose sequences may end early, about so).
            metrics["grad_norm"] = adam_step("forward model", self.optimizer, c.ensemble * loss, self.parameters())
        return {**metrics, "updates": updates}

    def _measure(self, data: Transitions) -> None:
        obs, next_obs = self._seen(data.obs), self._seen(data.next_obs)
        change = next_obs - obs
        self.change_mean.copy_(change.mean(0))
        self.change_std.copy_(change.std(0, correction=0).clamp_min(1e-3 * self.inputs.obs_std))
        margin = 0.2 * (next_obs.amax(0) - next_obs.amin(0))
        self.low.copy_(torch.minimum(next_obs.amin(0), obs.amin(0)) - margin)
        self.high.copy_(torch.maximum(next_obs.amax(0), obs.amax(0)) + margin)

    def _seen(self, obs: Tensor) -> Tensor:
        return obs[..., : self.inputs.seen]

    @torch.no_grad()
    def errors_by_depth(self, recorded: Transitions, depth: int) -> list[float]:
        """Held-out error at depths 1..``depth``: how far states imagined under recorded actions drift from real ones.

        Root mean square over components of the scaled observation, averaged over all starts whose episode lasts
        long enough; ``recorded [N]`` must be consecutive and not yet trained on. NaN where no start is long enough.
        """
        ended = (recorded.terminated | recorded.truncated).long()
        before = torch.cat([torch.zeros(1, dtype=torch.long), ended.cumsum(0)])  # endings before each index
        start = torch.arange(len(recorded))
        obs, hidden, errors = recorded.obs, self.initial_hidden(len(recorded)), []
        for d in range(depth):
            now = (start + d).clamp_max(len(recorded) - 1)
            within = (start + d < len(recorded)) & (before[now] == before[start])
            obs, _, hidden = self(obs, recorded.action[now], hidden)  # all rows, so that each keeps its member
            drift = (self._seen(obs - recorded.next_obs[now]) / self.inputs.obs_std).square().mean(-1).sqrt()
            errors.append(drift[within].mean().item())
        return errors
