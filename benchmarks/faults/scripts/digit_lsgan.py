"""A least-squares GAN on the digits 0 and 1: real and fake labels, two Adams, many short epochs, samples kept for a look."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 60
LATENT = 10


class Generator(nn.Module):
    """Noise to pictures in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(LATENT, 64),
            nn.LayerNorm(64),
            nn.ReLU(),
            nn.Linear(64, 96),
            nn.LayerNorm(96),
            nn.ReLU(),
            nn.Linear(96, 64),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """(N, LATENT) to (N, 1, 8, 8)."""
        images: Tensor = self.main(z).view(-1, 1, 8, 8)
        return images


class Discriminator(nn.Module):
    """Pictures to one number: near 1 for real ones, near 0 for others."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 96),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.2),
            nn.Linear(96, 48),
            nn.LeakyReLU(0.2),
            nn.Linear(48, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to (N,)."""
        validity: Tensor = self.main(x).view(-1)
        return validity


def main(seed: int, watch: Watch) -> float:
    """Train and compare what is made with real pictures."""
    torch.manual_seed(seed)
    digits = load_digits(n_class=2)
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    dataloader = DataLoader(TensorDataset(images), batch_size=32, shuffle=True, drop_last=True)
    netG, netD = Generator(), Discriminator()
    criterion = nn.MSELoss()
    optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
    fixed_noise = torch.randn(8, LATENT)
    G_losses, D_losses, kept = [], [], []
    with watch([netG, netD], [optimizerG, optimizerD], steps=EPOCHS * len(dataloader)):
        for epoch in range(EPOCHS):
            for (real,) in dataloader:
                real_label, fake_label = torch.ones(len(real)), torch.zeros(len(real))
                # (1) the discriminator
                optimizerD.zero_grad()
                errD_real = criterion(netD(real), real_label)
                fake = netG(torch.randn(len(real), LATENT))
                errD_fake = criterion(netD(fake.detach()), fake_label)
                errD = 0.5 * (errD_real + errD_fake)
                errD.backward()
                optimizerD.step()
                # (2) the generator
                optimizerG.zero_grad()
                errG = criterion(netD(fake), real_label)
                errG.backward()
                optimizerG.step()
                G_losses.append(errG.item())
                D_losses.append(errD.item())
            if epoch % 20 == 19:
                with torch.no_grad():
                    kept.append(netG(fixed_noise))
    with torch.no_grad():
        made = netG(torch.randn(300, LATENT))
    return skill.of_samples(made.flatten(1), images.flatten(1))
