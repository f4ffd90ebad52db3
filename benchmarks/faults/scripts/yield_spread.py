"""A mean and a spread for every row: GaussianNLLLoss by hand, two heads, RMSprop, early stopping on validation rows."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 14


def fields(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rain in mm, sun in hours, pH, nitrogen in kg and year (N, 5), and a yield in t (N, 1) whose spread depends on rain."""
    g = torch.Generator().manual_seed(seed)
    rain = 300 + 600 * torch.rand(n, generator=g)
    sun = 900 + 900 * torch.rand(n, generator=g)
    soil = 5 + 3 * torch.rand(n, generator=g)
    nitrogen = 200 * torch.rand(n, generator=g)
    year = torch.randint(1990, 2024, (n,), generator=g).float()
    mean = (
        6
        - ((rain - 600) / 150) ** 2
        + 2 * torch.log1p(nitrogen / 40)
        + (sun - 1350) / 300 * (soil - 6.5)
        + 0.05 * (year - 2007)
    )
    spread = 0.2 + 0.6 * (rain - 300) / 600
    y = mean + spread * torch.randn(n, generator=g)
    return torch.stack([rain, sun, soil, nitrogen, year], dim=1), y[:, None]


class MeanAndSpread(nn.Module):
    """A shared body and a head for each."""

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.fc1 = nn.Linear(5, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.mean_head = nn.Linear(hidden, 1)
        self.logvar_head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 5) to mean and log variance, (N, 1) each."""
        h = torch.tanh(self.fc1(x))
        h = torch.tanh(self.fc2(h))
        return self.mean_head(h), self.logvar_head(h).clamp(-6, 4)


def nll(mean: Tensor, logvar: Tensor, y: Tensor) -> Tensor:
    """Gaussian negative log-likelihood."""
    return 0.5 * (logvar + (y - mean) ** 2 / logvar.exp() + math.log(2 * math.pi)).mean()


def main(seed: int, watch: Watch) -> float:
    """Train, go back to the best epoch, and give R2 of the mean on test rows."""
    torch.manual_seed(seed)
    x, y = fields(1400, 41)
    x_train, y_train, x_val, y_val, x_test, y_test = x[:800], y[:800], x[800:1000], y[800:1000], x[1000:], y[1000:]
    mu, sigma = x_train.mean(0), x_train.std(0)
    x_train, x_val, x_test = (x_train - mu) / sigma, (x_val - mu) / sigma, (x_test - mu) / sigma
    y_mu, y_sigma = y_train.mean(), y_train.std()
    y_train, y_val, y_test = (y_train - y_mu) / y_sigma, (y_val - y_mu) / y_sigma, (y_test - y_mu) / y_sigma
    loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True)
    model = MeanAndSpread()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    best, patience, best_state = math.inf, 0, copy.deepcopy(model.state_dict())
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            model.train()
            for batch_x, batch_y in loader:
                optimizer.zero_grad()
                mean, logvar = model(batch_x)
                loss = nll(mean, logvar, batch_y)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                mean, logvar = model(x_val)
                val_loss = nll(mean, logvar, y_val).item()
            if val_loss < best:
                best, patience, best_state = val_loss, 0, copy.deepcopy(model.state_dict())
            else:
                patience += 1
                if patience >= 6:
                    break
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        return skill.of_numbers(model(x_test)[0], y_test)
