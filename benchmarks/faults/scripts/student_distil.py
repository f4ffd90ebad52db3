"""Knowledge distillation on a noisy table: a student with Lightning-like hooks follows the softened answers of a teacher."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faults import skill
from faults.settings import Watch

EPOCHS = 22
TEMPERATURE, ALPHA = 3.0, 0.7


def customers(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Twelve measurements (N, 12) and one of five segments (N,), a tenth of them wrong."""
    fixed, g = torch.Generator().manual_seed(2), torch.Generator().manual_seed(seed)
    centres = 1.3 * torch.randn(10, 12, generator=fixed)
    cluster = torch.randint(0, 10, (n,), generator=g)
    x = centres[cluster] + torch.randn(n, 12, generator=g)
    wrong = torch.rand(n, generator=g) < 0.1
    return x, torch.where(wrong, torch.randint(0, 5, (n,), generator=g), cluster % 5)


class LitStudent(nn.Module):
    """The student with its hooks; the teacher is held outside of the parameters."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.layer_1 = nn.Linear(12, 32)
        self.layer_2 = nn.Linear(32, 32)
        self.layer_3 = nn.Linear(32, 5)
        self.__dict__["teacher"] = teacher

    def forward(self, x: Tensor) -> Tensor:
        """(N, 12) to (N, 5)."""
        x = F.elu(self.layer_1(x))
        x = F.elu(self.layer_2(x))
        logits: Tensor = self.layer_3(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch."""
        x, y = batch
        student_logits = self(x)
        with torch.no_grad():
            teacher_logits = self.__dict__["teacher"](x)
        soft = F.kl_div(
            F.log_softmax(student_logits / TEMPERATURE, dim=1),
            F.softmax(teacher_logits / TEMPERATURE, dim=1),
            reduction="batchmean",
        )
        return ALPHA * TEMPERATURE**2 * soft + (1 - ALPHA) * F.cross_entropy(student_logits, y)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> float:
        """Accuracy of a batch."""
        x, y = batch
        return float((self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.03, momentum=0.9)


def train_teacher(x: Tensor, y: Tensor) -> nn.Module:
    """A wide net, trained beforehand."""
    teacher = nn.Sequential(nn.Linear(12, 128), nn.GELU(), nn.Linear(128, 5))
    opt = torch.optim.AdamW(teacher.parameters(), 5e-3, weight_decay=0.1)
    for _ in range(60):
        rows = torch.randint(0, len(x), (128,))
        opt.zero_grad()
        F.cross_entropy(teacher(x[rows]), y[rows]).backward()
        opt.step()
    return teacher.eval()


def main(seed: int, watch: Watch) -> float:
    """Train teacher and student and give the student's skill."""
    torch.manual_seed(seed)
    x, y = customers(900, 55)
    x_test, y_test = customers(600, 56)
    train_loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    module = LitStudent(train_teacher(x, y))
    optimizer = module.configure_optimizers()
    with watch(module, optimizer, steps=EPOCHS * len(train_loader)):
        for _ in range(EPOCHS):
            module.train()
            for batch in train_loader:
                loss = module.training_step(batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            module.eval()
            with torch.no_grad():
                module.validation_step((x_test, y_test))
    module.eval()
    with torch.no_grad():
        return skill.of_classes(module(x_test), y_test)
