"""Cost of a 10-step unroll with its backward pass, against the same arithmetic written by hand in plain torch.

    python benchmarks/unroll.py [--pairs 50]

Both sides share their weights, inputs and noise; their gradients are compared. They are timed in alternation, on one
thread, in processor time, so that other work on the machine weighs on both alike. Exit code 1 if the gradients differ.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch loads
os.environ.setdefault("MKL_NUM_THREADS", "1")

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from dyna_ail.config import Config, make_config
from dyna_ail.learning.discriminator import Discriminator
from dyna_ail.learning.forward_model import ForwardModel
from dyna_ail.learning.networks import CLIP, Scaling
from dyna_ail.learning.policy import ImitationPolicy, make_agent
from dyna_ail.learning.unroll import cost_to_go, unroll

OBS_DIM, ACTION_DIM = 11, 3  # Hopper's
TARGET = 1.25


def parts(config: Config) -> tuple[ImitationPolicy, Discriminator, ForwardModel]:
    """Policy, D and f of the default configuration, with weights as after some training."""
    scaling = Scaling(np.zeros(OBS_DIM), np.full(OBS_DIM, 0.7), np.zeros(ACTION_DIM), np.ones(ACTION_DIM))
    observation_space = spaces.Box(-np.inf, np.inf, (OBS_DIM,), np.float64)
    agent = make_agent(observation_space, spaces.Box(-1, 1, (ACTION_DIM,), np.float32), config, scaling, config.seed)
    D, f = Discriminator(scaling, config.discriminator, config.cost), ForwardModel(scaling, config.forward_model)
    with torch.no_grad():
        D.net[-1].weight.normal_(std=0.1)
        agent.policy.action_net.weight.mul_(50)
        f.change_std.fill_(0.1)
        f.low.fill_(-5)
        f.high.fill_(5)
    return agent.policy, D, f  # type: ignore[return-value]


def by_hand(policy: ImitationPolicy, D: Discriminator, f: ForwardModel, discount: float) -> Callable[..., Tensor]:
    """J as one straight function of start and noise: the same operations on the same weights, no module, no class."""
    (p1, _, p2, _), p3 = policy.mlp_extractor.policy_net, policy.action_net
    d1, _, d2, _, d3 = D.net
    f1, _, f2, _, f3, _, f4 = f.members[0].net
    mean, std = f.inputs.obs_mean, f.inputs.obs_std
    action_mean, action_std = f.inputs.action_mean, f.inputs.action_std
    centre, half = policy.action_centre, policy.action_half
    low, high, change_mean, change_std = f.low, f.high, f.change_mean, f.change_std
    log_std = policy.log_std

    def J(start: Tensor, noise: Tensor) -> Tensor:
        s, states, actions, alive = start, [], [], []
        for xi in noise:
            x = ((s - mean) / std).clamp(-CLIP, CLIP)
            x = F.relu(F.linear(F.relu(F.linear(x, p1.weight, p1.bias)), p2.weight, p2.bias))
            mu = centre + half * torch.tanh(F.linear(x, p3.weight, p3.bias))
            a = torch.clamp(mu + log_std.exp() * xi, centre - half, centre + half)
            states.append(s)
            actions.append(a)
            x = torch.cat([((s - mean) / std).clamp(-CLIP, CLIP), (a - action_mean) / action_std], -1)
            x = F.silu(F.linear(x, f1.weight, f1.bias))
            x = F.silu(F.linear(x, f2.weight, f2.bias))
            x = F.silu(F.linear(x, f3.weight, f3.bias))
            x = F.linear(x, f4.weight, f4.bias)
            s = (s + change_mean + change_std * x[..., :-1]).clamp(low, high)
            alive.append(torch.sigmoid(x[..., -1]))
        s, a = torch.stack(states), torch.stack(actions)
        x = torch.cat([((s - mean) / std).clamp(-CLIP, CLIP), (a - action_mean) / action_std], -1)
        x = F.relu(F.linear(F.relu(F.linear(x, d1.weight, d1.bias)), d2.weight, d2.bias))
        cost = F.logsigmoid(F.linear(x, d3.weight, d3.bias).squeeze(-1))
        total = torch.zeros_like(cost[0])
        for c, p in zip(cost.flip(0), reversed(alive), strict=True):
            total = c + discount * p * total
        return total.mean()

    return J


def seconds(gradient: Callable[[], object]) -> float:
    """Processor time of one call."""
    before = time.process_time()
    gradient()
    return time.process_time() - before


def main() -> int:
    """Compare, time, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=50, help="timed pairs (default %(default)s)")
    pairs = max(parser.parse_args().pairs, 1)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = make_config(**{"planner.horizon": 10})
    policy, D, f = parts(config)
    batch, weights = 256, policy.actor_parameters()
    start = torch.randn(batch, OBS_DIM)
    noise = policy.noise((config.planner.horizon, batch), torch.Generator().manual_seed(0))
    plain_J = by_hand(policy, D, f, config.discount)

    def package() -> tuple[Tensor, ...]:
        imagined = unroll(start, f.initial_hidden(batch), noise, policy.sample, D.cost, f)
        return torch.autograd.grad(cost_to_go(imagined, config.discount)[0].mean(), weights)

    def plain() -> tuple[Tensor, ...]:
        return torch.autograd.grad(plain_J(start, noise), weights)

    flat = [torch.cat([g.flatten() for g in gradient()]) for gradient in (package, plain)]
    difference = ((flat[0] - flat[1]).norm() / flat[1].norm()).item()
    for gradient in (package, plain) * 5:
        gradient()
    times = []
    for i in range(pairs):
        order = (package, plain) if i % 2 else (plain, package)
        pair = {gradient: seconds(gradient) for gradient in order}
        times.append((pair[package], pair[plain]))
    ours, theirs = np.array(times).T
    ratio = ours / theirs
    print(f"{config.planner.horizon} steps, batch {batch}, forward model {config.forward_model.hidden}, {pairs} pairs")
    print(f"relative difference of the gradients  {difference:.1e}")
    print(f"package      {1e3 * np.median(ours):6.1f} ms (median)")
    print(f"plain torch  {1e3 * np.median(theirs):6.1f} ms (median)")
    low, middle, high = np.percentile(ratio, [25, 50, 75])
    print(
        f"ratio        {middle:6.3f}    (median of pairs; quartiles {low:.3f} to {high:.3f}; target {TARGET} or less)"
    )
    return int(not difference < 1e-4)


if __name__ == "__main__":
    sys.exit(main())
