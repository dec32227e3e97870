"""One trust-region step on relabelled trajectories, real or imagined, by sb3-contrib's TRPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import TRPO
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from dyna_ail.errors import NonFiniteError, one_line
from dyna_ail.learning.networks import require_finite


@dataclass(frozen=True)
class Trajectories:
    """T consecutive steps of E environments, real or imagined, episodes end to end.

    ``obs, next_obs [T, E, obs_dim]``; ``drawn [T, E, action_dim]``, the encoded actions as sampled, before clipping;
    ``reward [T, E]``; ``terminated``, ``truncated`` and ``episode_start [T, E]`` bool: the episode ended here, was cut
    here by a limit, or begins here. The last step need not end an episode.
    """

    obs: Tensor
    drawn: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor
    truncated: Tensor
    episode_start: Tensor


@torch.no_grad()
def rollout_buffer(agent: TRPO, found: Trajectories) -> RolloutBuffer:
    """The trajectories as TRPO's batch: values, log-likelihoods, advantages.

    An episode cut by a limit is not over: its last reward takes the discounted value of the state that would have
    followed, as in SB3. One that terminated has nothing to follow.
    """
    steps, environments = found.reward.shape
    drawn = found.drawn.argmax(-1) if agent.policy.discrete else found.drawn
    values, log_prob, _ = agent.policy.evaluate_actions(found.obs.flatten(0, 1), drawn.flatten(0, 1))
    values, log_prob = (x.reshape(found.reward.shape) for x in (values, log_prob))
    next_value = agent.policy.predict_values(found.next_obs.flatten(0, 1)).reshape(found.reward.shape)
    reward = found.reward + agent.gamma * next_value * found.truncated
    buffer = RolloutBuffer(
        steps,
        # It stores rows in the dtype of the space; imagined states are no integers.
        _in_float32(agent.observation_space),
        _in_float32(agent.action_space),
        "cpu",
        gae_lambda=agent.gae_lambda,
        gamma=agent.gamma,
        n_envs=environments,
    )
    for t in range(steps):
        buffer.add(
            found.obs[t].numpy(),
            drawn[t].numpy(),
            reward[t].numpy(),
            found.episode_start[t].numpy(),
            values[t],
            log_prob[t],
        )
    ended = found.terminated[-1] | found.truncated[-1]
    buffer.compute_returns_and_advantage(next_value[-1], ended.numpy())
    return buffer


def _in_float32(space: spaces.Space[Any]) -> spaces.Space[Any]:
    return spaces.Box(-np.inf, np.inf, space.shape, np.float32) if isinstance(space, spaces.Box) else space


def trust_region_step(agent: TRPO, buffer: RolloutBuffer) -> dict[str, float]:
    """One TRPO step of the policy on the batch, and the value function's regression; returns named metrics.

    Raises:
        NonFiniteError: an advantage before the step, or a weight of the policy after it, is not finite.
    """
    agent.rollout_buffer = buffer
    require_finite("TRPO's advantage", torch.as_tensor(buffer.advantages))
    try:
        agent.train()
    except ValueError as error:  # from torch's distributions, which refuse such parameters
        raise NonFiniteError(
            f"the policy's distribution became NaN or infinite in the TRPO step: {one_line(error)}"
        ) from error
    for name, weights in agent.policy.named_parameters():
        require_finite(f"the policy's {name} after the TRPO step", weights)
    logged = agent.logger.name_to_value
    return {
        "kl": float(logged["train/kl_divergence_loss"]),
        "value_loss": float(logged["train/value_loss"]),
        "explained_variance": float(logged["train/explained_variance"]),
        "step_accepted": float(logged["train/is_line_search_success"]),
    }
