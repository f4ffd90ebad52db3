"""Tomorrow's load from the last two days: sliding windows, LSTM many-to-one, MinMax scaling, best weights kept in a file."""

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 10
WINDOW = 24


def load(hours: int = 1400) -> Tensor:
    """Megawatts by hour: a day of twelve points, a week, a trend of the weather, noise."""
    g = torch.Generator().manual_seed(44)
    t = torch.arange(float(hours))
    weather = torch.randn(hours, generator=g)
    for i in range(1, hours):
        weather[i] = 0.95 * weather[i - 1] + 0.3 * weather[i]
    day = torch.sin(2 * torch.pi * t / 12) + 0.4 * torch.sin(4 * torch.pi * t / 12 + 1)
    return 520 + 90 * day + 40 * torch.sin(2 * torch.pi * t / 84) + 35 * weather + 8 * torch.randn(hours, generator=g)


def windows(series: Tensor) -> tuple[Tensor, Tensor]:
    """All windows (N, WINDOW, 1) and the value after each (N, 1)."""
    x = torch.stack([series[i : i + WINDOW] for i in range(len(series) - WINDOW)])
    y = series[WINDOW:]
    return x.unsqueeze(-1), y.unsqueeze(-1)


class LoadForecaster(nn.Module):
    """LSTM, and a linear layer on its last output."""

    def __init__(self, hidden_size: int = 24, num_layers: int = 1) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_size, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, 1) to (N, 1)."""
        out, _ = self.lstm(x)
        forecast: Tensor = self.fc(out[:, -1, :])
        return forecast


def main(seed: int, watch: Watch) -> float:
    """Train on the first part of the series and give R2 on the last."""
    torch.manual_seed(seed)
    series = load()
    low, high = series[:1000].min(), series[:1000].max()
    series = 2 * (series - low) / (high - low) - 1
    x_train, y_train = windows(series[:1000])
    x_test, y_test = windows(series[1000:])
    train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True)
    model = LoadForecaster()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    best_loss = float("inf")
    with tempfile.TemporaryDirectory() as folder, watch(model, optimizer, steps=EPOCHS * len(train_loader)):
        path = Path(folder) / "best_model.pth"
        torch.save(model.state_dict(), path)
        for _ in range(EPOCHS):
            model.train()
            for inputs, targets in train_loader:
                outputs = model(inputs)
                loss = criterion(outputs, targets)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
                optimizer.step()
            model.eval()
            with torch.no_grad():
                val_loss = criterion(model(x_test), y_test).item()
            if val_loss < best_loss:
                best_loss = val_loss
                torch.save(model.state_dict(), path)
        model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    with torch.no_grad():
        return skill.of_numbers(model(x_test), y_test)
