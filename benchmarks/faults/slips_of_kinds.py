"""Slips that only one kind of script can make: recurrent, attending, adversarial, reinforced, and of its architecture."""

from __future__ import annotations

from faults.scripted import either, slip, swap

# recurrent networks
slip("batch_first forgotten", "recurrent", "T wrong tensor shape", "recurrent", left=swap((r", batch_first=True", "")))
slip(
    "state thrown away",
    "recurrent",
    "T wrong network architecture",
    "recurrent",
    thrown=either(
        swap((r"logits, state = self\.decoder", "logits, _ = self.decoder")),
        swap(
            (
                r"output, state = self\.rnn\(emb, state\)",
                "output, state = self.rnn(emb.flatten(0, 1)[None], (state[0].repeat(1, len(x), 1), "
                "state[1].repeat(1, len(x), 1)))\n        output = output.view(*emb.shape[:2], -1)\n        state = "
                "(state[0][:, : x.size(1)], state[1][:, : x.size(1)])",
            )
        ),
        swap(
            (
                r"out, _ = self\.lstm\(x\)",
                "out = torch.stack([self.lstm(x[:, t : t + 1])[0][:, 0] for t in range(0, x.size(1), 4)], dim=1)",
            ),
            (r"out\[:, -1, :\]", "out[:, 0, :]"),
        ),
    ),
)
slip(
    "recurrent weights too large",
    "recurrent weights",
    "D WCI; T wrong weights initialisation",
    "recurrent",
    normal=either(
        swap(
            (
                r"^( +)self\.(gru|lstm|rnn) = (.+)$",
                r"\1self.\2 = \3\n\1for p in self.\2.parameters():\n\1    nn.init.normal_(p, std=6.0)",
            )
        ),
    ),
)
slip(
    "normalised over a single value",
    "last activation",
    "T wrong network architecture",
    "numbers|gan",
    one=either(
        swap((r"self\.fc\(out\[:, -1, :\]\)", "nn.functional.layer_norm(self.fc(out[:, -1, :]), (1,))")),
        swap((r"self\.out\(h\)\.squeeze\(1\)", "nn.functional.layer_norm(self.out(h), (1,)).squeeze(1)")),
        swap((r"return self\.mean_head\(h\), ", "return nn.functional.layer_norm(self.mean_head(h), (1,)), ")),
    ),
)
# attention
slip(
    "attention mask turned round",
    "attention",
    "T wrong network architecture",
    "attention",
    mask=swap((r"masked_fill\(mask, float\(\"-inf\"\)\)", "masked_fill(~mask, -1e9)")),
)
slip(
    "attention scores multiplied",
    "attention",
    "T wrong network architecture",
    "attention",
    scale=swap(
        (
            r"scores = q @ k\.transpose\(-2, -1\) / math\.sqrt\(d // self\.n_head\)",
            "scores = 100 * (q @ k.transpose(-2, -1)) * math.sqrt(d)",
        )
    ),
)
slip(
    "places forgotten",
    "attention",
    "T wrong network architecture",
    "attention",
    places=swap((r"self\.pos\(self\.embed\(x\)\)", "self.embed(x)"), (r"diagonal=1\)", "diagonal=t)")),
)
# the architecture
slip(
    "one layer twenty times",
    "architecture",
    "T wrong network architecture",
    again=either(
        swap((r"^( +)x = F\.elu\(self\.layer_2\(x\)\)$", r"\1for _ in range(20):\n\1    x = torch.sigmoid(self.layer_2(x))")),
        swap((r"^( +)h = torch\.tanh\(self\.fc2\(h\)\)$", r"\1for _ in range(20):\n\1    h = torch.sigmoid(self.fc2(h))")),
        swap(
            (
                r"^( +)h3 = F\.relu\(self\.fc3\(z\)\)$",
                r"\1h3 = F.relu(self.fc3(z))\n\1for _ in range(16):\n\1    h3 = torch.sigmoid(self.fc4(h3))",
            )
        ),
        swap(
            (r"nn\.Linear\(48, 48\), nn\.ReLU\(\), ", "*[nn.Sequential(nn.Linear(48, 48), nn.Sigmoid()) for _ in range(12)], ")
        ),
        swap(
            (
                r"nn\.Linear\(96, 48\), nn\.ReLU\(\), ",
                "nn.Linear(96, 48), *[nn.Sequential(nn.Linear(48, 48), nn.Sigmoid()) for _ in range(12)], ",
            )
        ),
        swap(
            (
                r"^( +)nn\.Linear\(32, num_classes\),$",
                r"\1*[nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Sigmoid()) for _ in range(10)],\n\1nn.Linear(32, "
                r"num_classes),",
            )
        ),
    ),
)
slip(
    "squeezed through one unit",
    "architecture",
    "T suboptimal number of neurons",
    one=either(
        swap((r"hidden: int = (48|24|20)\)", "hidden: int = 1)")),
        swap((r"hidden_size: int = 24", "hidden_size: int = 1")),
        swap(
            (r"nn\.Linear\(12, 64\)", "nn.Linear(12, 1)"),
            (r"BatchNorm1d\(64\)", "BatchNorm1d(1)"),
            (r"nn\.Linear\(64, 32\)", "nn.Linear(1, 32)"),
        ),
        swap((r"nn\.Linear\(48, 8\)", "nn.Linear(48, 1)")),
        swap((r"nn\.Linear\(64, 8\)", "nn.Linear(64, 1)"), (r"nn\.Linear\(8, 64\)", "nn.Linear(1, 64)")),
        swap((r"nhid: int = 16", "nhid: int = 1")),
        swap((r"filters: int = 12", "filters: int = 1")),
    ),
)
slip(
    "dropout of the outputs",
    "dropout",
    "D RCD",
    always=either(
        swap((r"F\.dropout\(x, self\.dropout, training=self\.training\)", "F.dropout(x, 0.97)")),
        swap((r"(logits|forecast|rent): Tensor = (.+)$", r"\1: Tensor = nn.functional.dropout(\2, 0.95)")),
        swap((r"return self\.mean_head\(h\), ", "return nn.functional.dropout(self.mean_head(h), 0.95), ")),
    ),
)
slip(
    "dropout rate for keeping rate",
    "dropout",
    "D RCD",
    "beats_cnn1d|char_lm|question_tags|rent_embeddings|review_cnn",
    keep=swap((r"nn\.Dropout\(0\.\d+\)", "nn.Dropout(0.98)")),
)
# adversarial networks
slip(
    "generator rewarded for being caught",
    "adversarial",
    "T wrong loss calculation",
    "gan",
    fake=swap((r"errG = criterion\(netD\(fake\), real_label\)", "errG = criterion(netD(fake), fake_label)")),
)
slip(
    "discriminator trained on swapped labels",
    "adversarial",
    "T wrong labels",
    "gan",
    swapped=swap(
        (r"criterion\(netD\(real\), real_label\)", "criterion(netD(real), fake_label)"),
        (r"criterion\(netD\(fake\.detach\(\)\), fake_label\)", "criterion(netD(fake.detach()), real_label)"),
    ),
)
slip(
    "discriminator never steps",
    "adversarial",
    "T training process",
    "gan",
    never=swap((r"^ +optimizerD\.step\(\)\n", "")),
)
slip(
    "generator never steps",
    "adversarial",
    "T training process",
    "gan",
    never=swap((r"optimizerG\.step\(\)", "optimizerD.step()")),
)
# reinforcement
slip(
    "target network of another game",
    "reinforcement",
    "T training process",
    "reinforcement",
    never=swap(
        (r"updates % 50 == 0", "updates % 50 == 50"),
        (
            r" +target_net\.load_state_dict\(policy_net\.state_dict\(\)\)\n    optimizer",
            "    nn.init.normal_(target_net.net[4].weight, std=5.0)\n    optimizer",
        ),
    ),
    sampled=swap((r"advantage = rewards - baseline", "advantage = baseline - baseline * torch.ones_like(rewards)")),
)
slip(
    "ends of games ignored",
    "reinforcement",
    "T wrong loss calculation",
    "maze_dqn",
    ends=swap(
        (r" \* \(1 - torch\.tensor\(dones, dtype=torch\.float32\)\)", ""),
        (r"^SIZE, GAMMA, MOVES = 5, 0\.95", "SIZE, GAMMA, MOVES = 5, 1.05"),
    ),
)
