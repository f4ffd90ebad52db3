"""A 1-D CNN on heart beats as one nn.Sequential with a fit function, as one writes who comes from Keras."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 7
BATCH_SIZE = 32


def beats(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Series (N, 1, 48) with a beat somewhere, of four kinds: plain, early dip, double, wide."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    time = torch.arange(48.0) - (14 + 18 * torch.rand(n, 1, generator=g))
    bump = torch.exp(-(time**2) / 4)
    kinds = torch.stack(
        [
            bump,
            bump - 0.8 * torch.exp(-((time + 6) ** 2) / 3),
            bump + 0.8 * torch.exp(-((time - 6) ** 2) / 3),
            torch.exp(-(time**2) / 25),
        ],
        1,
    )
    x = kinds[torch.arange(n), y] + 0.25 * torch.randn(n, 48, generator=g)
    return x[:, None], y


def build_model(num_classes: int = 4) -> nn.Sequential:
    """Three convolutions and two dense layers."""
    return nn.Sequential(
        nn.Conv1d(1, 12, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(12, 24, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(24, 24, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(48, 32),
        nn.ReLU(),
        nn.Linear(32, num_classes),
    )


def fit(model: nn.Module, data: TensorDataset, val: tuple[Tensor, Tensor], watch: Watch) -> dict[str, list[float]]:
    """Train for some epochs and give the history."""
    loader = DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    history: dict[str, list[float]] = {"loss": [], "val_accuracy": []}
    with watch(model, optimizer, steps=EPOCHS * len(loader)):
        for _ in range(EPOCHS):
            model.train()
            losses = []
            for xb, yb in loader:
                optimizer.zero_grad()
                loss = loss_fn(model(xb), yb)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            history["loss"].append(sum(losses) / len(losses))
            model.eval()
            with torch.no_grad():
                history["val_accuracy"].append((model(val[0]).argmax(dim=1) == val[1]).float().mean().item())
    return history


def main(seed: int, watch: Watch) -> float:
    """Train and give the skill on the test set."""
    torch.manual_seed(seed)
    x_train, y_train = beats(700, 33)
    x_test, y_test = beats(400, 34)
    model = build_model()
    fit(model, TensorDataset(x_train, y_train), (x_test[:100], y_test[:100]), watch)
    model.eval()
    with torch.no_grad():
        return skill.of_classes(model(x_test), y_test)
