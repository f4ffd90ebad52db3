"""A contextual bandit by policy gradient: doses for patients, REINFORCE with a running baseline and an entropy bonus, Adam."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from faults.settings import Watch

EPOCHS = 6
STEPS_PER_EPOCH, BATCH, DOSES = 100, 64, 5


def patients(n: int) -> Tensor:
    """Standardised age, weight and four measurements (N, 6)."""
    return torch.randn(n, 6)


def best_dose(x: Tensor) -> Tensor:
    """The dose that would be right (N,): it depends on weight and on a product."""
    return ((x[:, 1] + 0.8 * x[:, 0] * x[:, 2].sign() + 2.5) / 5 * DOSES).long().clamp(0, DOSES - 1)


def reward_of(x: Tensor, dose: Tensor) -> Tensor:
    """1 for the right dose, less for those beside it, some noise."""
    return 1 - 0.5 * (dose - best_dose(x)).abs().float() + 0.1 * torch.randn(len(x))


class PolicyNetwork(nn.Module):
    """Logits of the doses."""

    def __init__(self) -> None:
        super().__init__()
        self.affine1 = nn.Linear(6, 64)
        self.affine2 = nn.Linear(64, DOSES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 6) to (N, DOSES)."""
        h = torch.relu(self.affine1(x))
        logits: Tensor = self.affine2(h)
        return logits


def main(seed: int, watch: Watch) -> float:
    """Treat and learn; 0 is the best single dose for all, 1 the right one for each."""
    torch.manual_seed(seed)
    policy = PolicyNetwork()
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    baseline = 0.0
    average = []
    with watch(policy, optimizer, steps=EPOCHS * STEPS_PER_EPOCH):
        for _ in range(EPOCHS):
            total = 0.0
            for _ in range(STEPS_PER_EPOCH):
                x = patients(BATCH)
                dist = Categorical(logits=policy(x))
                action = dist.sample()
                rewards = reward_of(x, action)
                advantage = rewards - baseline
                loss = -(dist.log_prob(action) * advantage).mean() - 0.03 * dist.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                baseline = 0.9 * baseline + 0.1 * rewards.mean().item()
                total += rewards.mean().item()
            average.append(total / STEPS_PER_EPOCH)
    x = torch.randn(2000, 6, generator=torch.Generator().manual_seed(51))
    right = best_dose(x)
    with torch.no_grad():
        chosen = policy(x).argmax(1)
        if not bool(torch.isfinite(policy(x)).all()):
            return 0.0
    lost = (chosen - right).abs().double().mean().item()
    constant = min((dose - right).abs().double().mean().item() for dose in range(DOSES))
    return max(-1.0, 1.0 - float(lost / constant))
