"""The stochastic policy pi(a|s): an SB3 policy whose sampling is reparameterised (MGAIL Section 3.2, Eq. 10)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from sb3_contrib import TRPO
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from dyna_ail.config.learner import Config
from dyna_ail.errors import InputError, one_line
from dyna_ail.files import check_archive, load_weights
from dyna_ail.learning.networks import ACTIVATIONS, Scaling, scale
from dyna_ail.spaces import action_dim, check_spaces


class ScaledObservation(BaseFeaturesExtractor):
    """Scales raw observations inside the network, so that a saved policy takes what the environment gives."""

    mean: Tensor
    std: Tensor

    def __init__(self, observation_space: spaces.Box, mean: list[float], std: list[float]) -> None:
        super().__init__(observation_space, features_dim=len(mean))
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, obs: Tensor) -> Tensor:
        """Scaled observation, ``[..., seen]``."""
        return scale(obs, self.mean, self.std)


def straight_through(logits: Tensor, gumbel: Tensor, temperature: float) -> Tensor:
    """Straight-through Gumbel-softmax: the one-hot argmax forward, the gradient of the softmax backward.

    MGAIL Section 3.2.2: ``argmax_i [g_i + log pi(a_i|s)]``, relaxed to ``softmax((g + log pi) / tau)``.
    Shapes: all ``[..., n]``.
    """
    soft = torch.softmax((gumbel + torch.log_softmax(logits, -1)) / temperature, -1)
    hard = nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
    return hard + (soft - soft.detach())


class ImitationPolicy(ActorCriticPolicy):
    """Diagonal Gaussian with a bounded mean (Box) or categorical (Discrete).

    The mean is ``centre + half * tanh(u)``: still a plain Gaussian, so TRPO's KL is unchanged, but the pathwise
    gradient can no longer drive it out of the action range, where it explodes. Departure from the papers, which leave
    the mean free. Actions are encoded as in :mod:`dyna_ail.spaces`.
    """

    action_centre: Tensor
    action_half: Tensor

    def __init__(self, *args: Any, initial_std: float = 0.2, temperature: float = 1.0, **kwargs: Any) -> None:
        self.initial_std, self.temperature = initial_std, temperature
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.discrete = isinstance(self.action_space, spaces.Discrete)
        self.encoded_dim = action_dim(self.action_space)
        if isinstance(self.action_space, spaces.Box):
            bounds = self.action_space.low, self.action_space.high
            low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in bounds)
            self.register_buffer("action_centre", (high + low) / 2, persistent=False)
            self.register_buffer("action_half", (high - low) / 2, persistent=False)
            with torch.no_grad():
                self.log_std.copy_(torch.log(self.initial_std * self.action_half))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"initial_std": self.initial_std, "temperature": self.temperature}
        return {**super()._get_constructor_parameters(), **own}

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        if self.discrete:
            return super()._get_action_dist_from_latent(latent_pi)
        return self.action_dist.proba_distribution(self._bounded(self.action_net(latent_pi)), self.log_std)

    def _bounded(self, head: Tensor) -> Tensor:
        return self.action_centre + self.action_half * torch.tanh(head)

    def head(self, obs: Tensor) -> Tensor:
        """The network's output before its squashing: the unbounded mean (Box) or the logits. ``[..., action_dim]``."""
        features: Tensor = self.extract_features(obs)  # type: ignore[assignment]
        out: Tensor = self.action_net(self.mlp_extractor.forward_actor(features))
        return out

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """The ``xi`` of :meth:`reparameterise`, ``[*shape, action_dim]``: standard normal, or Gumbel for Discrete."""
        out = torch.empty(*shape, self.encoded_dim)
        return -out.exponential_(generator=generator).log() if self.discrete else out.normal_(generator=generator)

    def reparameterise(self, obs: Tensor, noise: Tensor) -> Tensor:
        """The action drawn by ``noise`` (MGAIL Eq. 10): ``mu(s) + sigma xi``, or the straight-through one-hot.

        Differentiable in the policy's parameters and in ``obs``. Gaussian actions are not clipped yet.
        Shapes: ``obs [..., obs_dim]``, ``noise`` and the result ``[..., action_dim]``.
        """
        head = self.head(obs)
        if self.discrete:
            return straight_through(head, noise, self.temperature)
        return self._bounded(head) + self.log_std.exp() * noise

    @torch.no_grad()
    def keep_noise(self, least: float) -> None:
        """Raise the Gaussian's standard deviation to ``least`` times half the action range where it is below (Box)."""
        if not self.discrete:
            self.log_std.clamp_(min=torch.log(least * self.action_half))

    def received(self, drawn: Tensor) -> Tensor:
        """A drawn action as the environment receives it: clipped to the action space (Box). Shape of ``drawn``."""
        if self.discrete:
            return drawn
        return torch.clamp(drawn, self.action_centre - self.action_half, self.action_centre + self.action_half)

    def sample(self, obs: Tensor, noise: Tensor) -> Tensor:
        """:meth:`reparameterise`, clipped to the action space."""
        return self.received(self.reparameterise(obs, noise))

    @torch.no_grad()
    def infer_noise(self, obs: Tensor, drawn: Tensor, generator: torch.Generator) -> Tensor:
        """A noise with which :meth:`reparameterise` draws ``drawn`` (MGAIL Algorithm 1, lines 9-15), same shape.

        Gaussian: the one that there is. Discrete: a draw from the Gumbel noises that lead to this choice: the largest
        perturbed logit is a Gumbel variable, the others are Gumbel variables cut off below it (Maddison 2014).
        """
        head = self.head(obs)
        if not self.discrete:
            return (drawn - self._bounded(head)) / self.log_std.exp()
        logits = torch.log_softmax(head, -1)
        free = logits + self.noise(drawn.shape[:-1], generator)
        top = self.noise(drawn.shape[:-1], generator)[..., :1]  # the maximum of all has the location log sum exp = 0
        below = -torch.logaddexp(-free, -top)
        return torch.where(drawn > 0.5, top, below) - logits

    def actor_parameters(self) -> list[nn.Parameter]:
        """The parameters of pi, without the value function's."""
        return [p for name, p in self.named_parameters() if "value" not in name]


def make_agent(
    observation_space: Space[Any], action_space: Space[Any], config: Config, scaling: Scaling, seed: int | None
) -> TRPO:
    """sb3-contrib's TRPO around an :class:`ImitationPolicy`, with no environment, so that it cannot step one.

    It carries the policy whatever the preset, so that every run's ``policy.zip`` opens with ``TRPO.load``. A ``seed``
    is also that of the global generators of Python, NumPy and torch, from which SB3 draws.
    """
    method, hidden = config.trpo, list(config.policy.hidden)
    agent = TRPO(
        ImitationPolicy,
        env=None,  # type: ignore[arg-type]
        learning_rate=method.critic_learning_rate,
        gamma=config.discount,
        gae_lambda=method.gae_lambda,
        target_kl=method.target_kl,
        cg_damping=method.cg_damping,
        n_critic_updates=method.critic_epochs,
        n_steps=config.steps_per_iteration,
        policy_kwargs={
            "net_arch": {"pi": hidden, "vf": hidden},
            "activation_fn": ACTIVATIONS[config.policy.activation],
            "initial_std": config.policy.initial_std,
            "temperature": config.policy.temperature,
            "features_extractor_class": ScaledObservation,
            "features_extractor_kwargs": {
                "mean": np.asarray(scaling.obs_mean).tolist(),
                "std": np.asarray(scaling.obs_std).tolist(),
            },
        },
        seed=seed,
        device="cpu",
        _init_setup_model=False,
    )
    agent.observation_space, agent.action_space, agent.n_envs = observation_space, action_space, 1
    agent._setup_model()
    agent.set_logger(configure(None, []))
    return agent


def load_policy(
    path: str | Path, observation_space: Space[Any], action_space: Space[Any], config: Config
) -> ImitationPolicy:
    """The policy in a run's ``policy.zip``, read without executing anything in it.

    Only the weights are taken from the archive, into networks built from ``config`` and the spaces. (SB3's own
    ``load`` unpickles, so it is for files that one trusts.) The global generators stay as they are.

    Raises:
        InputError: the file is missing, damaged, or holds another policy's weights.
    """
    check_spaces(observation_space, action_space)
    width = config.seen or observation_space.shape[0]  # type: ignore[index]
    scaling = Scaling(np.zeros(width), np.ones(width), np.zeros(0), np.ones(0))  # overwritten by the file's
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are overwritten too
        agent = make_agent(observation_space, action_space, config, scaling, seed=None)
    try:
        check_archive(Path(path))
        with zipfile.ZipFile(path) as archive, archive.open("policy.pth") as file:
            agent.policy.load_state_dict(load_weights(file))
    except Exception as error:  # a damaged archive fails in torch, zipfile or pickle, each in its own way
        raise InputError(f"{path} is not the policy of this run, or is damaged: {one_line(error)}") from error
    policy: ImitationPolicy = agent.policy  # type: ignore[assignment]
    return policy
