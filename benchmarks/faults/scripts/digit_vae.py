"""A variational autoencoder on digits: reparameterisation, binary cross-entropy summed over pixels plus KL, Adam."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 16


class VAE(nn.Module):
    """Fully connected on both sides, eight hidden numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 64)
        self.fc21 = nn.Linear(64, 8)
        self.fc22 = nn.Linear(64, 8)
        self.fc3 = nn.Linear(8, 64)
        self.fc4 = nn.Linear(64, 64)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance."""
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """A draw that gradients pass through."""
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z: Tensor) -> Tensor:
        """Hidden numbers to probabilities of pixels."""
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 64) to reconstruction, mean and log variance."""
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """Reconstruction and KL, summed over pixels and examples."""
    bce = F.binary_cross_entropy(recon_x, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + 0.3 * kld


def main(seed: int, watch: Watch) -> float:
    """Train and give R2 of the pictures made from the means."""
    torch.manual_seed(seed)
    data = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    train_loader = DataLoader(TensorDataset(data[:1000]), batch_size=32, shuffle=True)
    test = data[1000:]
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    with watch(model, optimizer, steps=EPOCHS * len(train_loader)):
        for _ in range(EPOCHS):
            model.train()
            train_loss = 0.0
            for (batch,) in train_loader:
                optimizer.zero_grad()
                recon_batch, mu, logvar = model(batch)
                loss = loss_function(recon_batch, batch, mu, logvar)
                loss.backward()
                train_loss += loss.item()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                recon_batch, mu, logvar = model(test)
                (loss_function(recon_batch, test, mu, logvar) / len(test)).item()
    model.eval()
    with torch.no_grad():
        return skill.of_numbers(model.decode(model.encode(test)[0]), test)
