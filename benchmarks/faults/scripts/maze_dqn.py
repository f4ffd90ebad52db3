"""Deep Q-learning in a small maze: replay memory, target network, epsilon greedy; skill is the return of the greedy policy."""

import random
from collections import deque

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults.settings import Watch

EPOCHS = 80
SIZE, GAMMA, MOVES = 5, 0.95, ((0, 1), (0, -1), (1, 0), (-1, 0))
WALLS, GOAL = {(1, 1), (1, 2), (1, 3), (3, 1), (3, 3), (3, 4)}, (4, 4)


def step(cell: tuple[int, int], action: int) -> tuple[tuple[int, int], float, bool]:
    """Where one gets, what one is paid, and whether it is over."""
    row, column = cell[0] + MOVES[action][0], cell[1] + MOVES[action][1]
    if not (0 <= row < SIZE and 0 <= column < SIZE) or (row, column) in WALLS:
        row, column = cell
    done = (row, column) == GOAL
    return (row, column), (1.0 if done else -0.02), done


def encode(cells: list[tuple[int, int]]) -> Tensor:
    """One-hot positions (N, 25)."""
    return F.one_hot(torch.tensor([row * SIZE + column for row, column in cells]), SIZE * SIZE).float()


class DQN(nn.Module):
    """A value for each of the four moves."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(SIZE * SIZE, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 4))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 25) to (N, 4)."""
        values: Tensor = self.net(x)
        return values


def start() -> tuple[int, int]:
    """A free cell."""
    while True:
        cell = (random.randrange(SIZE), random.randrange(SIZE))
        if cell not in WALLS and cell != GOAL:
            return cell


def greedy_return(policy_net: nn.Module) -> float:
    """Share of the best possible return over all starting cells; 0 is never to arrive."""
    cells = [(r, c) for r in range(SIZE) for c in range(SIZE) if (r, c) not in WALLS and (r, c) != GOAL]
    with torch.no_grad():
        best = policy_net(encode([(r, c) for r in range(SIZE) for c in range(SIZE)])).argmax(1).tolist()
    arrived = []
    for cell in cells:
        for _ in range(16):
            cell, _, done = step(cell, best[cell[0] * SIZE + cell[1]])
            if done:
                break
        arrived.append(float(cell == GOAL))
    return sum(arrived) / len(arrived)


def main(seed: int, watch: Watch) -> float:
    """Play and learn."""
    torch.manual_seed(seed)
    random.seed(seed)
    policy_net, target_net = DQN(), DQN()
    target_net.load_state_dict(policy_net.state_dict())
    optimizer = torch.optim.Adam(policy_net.parameters(), lr=2e-3)
    memory: deque[tuple[tuple[int, int], int, tuple[int, int], float, bool]] = deque(maxlen=2000)
    updates = 0
    with watch(policy_net, optimizer, steps=EPOCHS * 15):
        for episode in range(EPOCHS):
            epsilon = max(0.1, 1.0 - episode / 60)
            cell = start()
            for _ in range(30):
                if random.random() < epsilon:
                    action = random.randrange(4)
                else:
                    with torch.no_grad():
                        action = int(policy_net(encode([cell])).argmax(1))
                following, reward, done = step(cell, action)
                memory.append((cell, action, following, reward, done))
                cell = following
                if len(memory) >= 100:
                    batch = random.sample(list(memory), 64)
                    states, actions, next_states, rewards, dones = zip(*batch, strict=True)
                    q_values = policy_net(encode(list(states))).gather(1, torch.tensor(actions)[:, None]).squeeze(1)
                    with torch.no_grad():
                        next_q = target_net(encode(list(next_states))).max(1).values
                    expected = torch.tensor(rewards) + GAMMA * next_q * (1 - torch.tensor(dones, dtype=torch.float32))
                    loss = F.smooth_l1_loss(q_values, expected)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    updates += 1
                    if updates % 50 == 0:
                        target_net.load_state_dict(policy_net.state_dict())
                if done:
                    break
    return greedy_return(policy_net)
