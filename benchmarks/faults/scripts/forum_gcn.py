"""A graph convolutional network with a dense adjacency matrix: whose friends are alike, a few labels, full-batch steps."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faults import skill
from faults.settings import Watch

EPOCHS = 2000
MEMBERS, GROUPS, WORDS = 240, 4, 40


def forum() -> tuple[Tensor, Tensor, Tensor]:
    """Words that members use (N, 40), who answers whom (N, N), and their group (N,)."""
    g = torch.Generator().manual_seed(52)
    group = torch.randint(0, GROUPS, (MEMBERS,), generator=g)
    alike = group[:, None] == group[None]
    links = (torch.rand(MEMBERS, MEMBERS, generator=g) < torch.where(alike, 0.06, 0.01)).float().triu(1)
    rate = 0.12 + 0.10 * torch.rand(GROUPS, WORDS, generator=g)
    words = (torch.rand(MEMBERS, WORDS, generator=g) < rate[group]).float()
    return words, links + links.t(), group


def normalize(adjacency: Tensor) -> Tensor:
    """Loops added, divided by the roots of the degrees."""
    adjacency = adjacency + torch.eye(len(adjacency))
    root = adjacency.sum(1).rsqrt()
    return root[:, None] * adjacency * root[None]


class GraphConvolution(nn.Module):
    """X W, then the neighbours' mean."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        return adj @ (x @ self.weight) + self.bias


class GCN(nn.Module):
    """Two of them."""

    def __init__(self, nhid: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        self.gc1 = GraphConvolution(WORDS, nhid)
        self.gc2 = GraphConvolution(nhid, GROUPS)
        self.dropout = dropout

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        """Log-probabilities (N, GROUPS)."""
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


def main(seed: int, watch: Watch) -> float:
    """Train on 80 members and give the skill on the others."""
    torch.manual_seed(seed)
    features, adjacency, labels = forum()
    features = features / features.sum(1, keepdim=True).clamp(min=1)
    adj = normalize(adjacency)
    idx_train, idx_val, idx_test = torch.arange(80), torch.arange(80, 120), torch.arange(120, MEMBERS)
    model = GCN()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
    best_val = 0.0
    with watch(model, optimizer, steps=EPOCHS):
        for epoch in range(EPOCHS):
            model.train()
            optimizer.zero_grad()
            output = model(features, adj)
            loss = F.nll_loss(output[idx_train], labels[idx_train])
            loss.backward()
            optimizer.step()
            if epoch % 50 == 49:
                model.eval()
                with torch.no_grad():
                    accuracy = (model(features, adj)[idx_val].argmax(1) == labels[idx_val]).float().mean().item()
                best_val = max(best_val, accuracy)
    model.eval()
    with torch.no_grad():
        return skill.of_classes(model(features, adj)[idx_test], labels[idx_test])
