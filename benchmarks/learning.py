"""What learning costs: processor time of 2,000 interactions of CartPole and Hopper, over that of a reference.

The reference is 2,000 updates of a small network in the same process, before and after, so that a slow or busy
processor slows both. Run it with ``python benchmarks/learning.py``.
"""

from __future__ import annotations

import time

import torch

from dyna_ail.algorithm import DynaAIL
from dyna_ail.config import make_config
from dyna_ail.demos import Demonstrations
from dyna_ail.envs.tasks import get_task, make_env

INTERACTIONS = 2000


def seconds_of_reference() -> float:
    """Processor seconds of 2,000 updates of a small network."""
    nn = torch.nn
    net = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(net.parameters())
    rows = torch.ones(100, 32)
    start = time.process_time()
    for _ in range(2000):
        optimizer.zero_grad()
        net(rows).square().mean().backward()
        optimizer.step()
    return time.process_time() - start


def seconds_of_learning(task_id: str) -> float:
    """Processor seconds of ``INTERACTIONS`` with the task's defaults."""
    task = get_task(task_id)
    assert task.demos is not None
    env = make_env(task.id)
    learner = DynaAIL(env, Demonstrations.load(task.demos), make_config("dyna-ail", task.defaults))
    start = time.process_time()
    learner.learn(INTERACTIONS)
    seconds = time.process_time() - start
    env.close()
    return seconds


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("CartPole-v1", "Hopper-v5"):
        before, spent = seconds_of_reference(), seconds_of_learning(name)
        ratio = 2 * spent / (before + seconds_of_reference())
        print(f"{name}: {spent:.1f} s for {INTERACTIONS:,} interactions, {ratio:.1f} times the reference")
