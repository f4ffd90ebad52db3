"""Ordinary faults in the scripts of the fourth lot: rates, constants, clearing, modes, weights, activations, losses, scales."""

from __future__ import annotations

from faults.scripted import either, swap
from faults.scripted import fresh_slip as slip

STEP = r"^( +)optimizer\.step\(\)$"
BACKWARD = r"^( +)loss\.backward\(\)$"
MADE = r"^( +)model = (\w+\(\))$"
RATE = r"(optim\.\w+\(model\.parameters\(\), lr=)([\de.-]+)"
BATCHES = r"batch_size=BATCH_SIZE, shuffle=True"


def after_model(line: str) -> tuple[str, str]:
    """A line put in after the model is made."""
    return MADE, rf"\1model = \2\n\1{line}"


# the optimizer
slip(
    "rate a hundred times too high",
    "rate high",
    "D HLR; T learning rate",
    times=swap((RATE, r"\g<1>100 * \2")),
    more=swap((RATE, r"\g<1>400 * \2")),
)
slip("rate of 1e-5", "rate low", "D HLR; T learning rate", adam=swap((RATE, r"\g<1>1e-5")), sgd=swap((RATE, r"\g<1>2e-5")))
slip(
    "weight decay of one",
    "decay",
    "D RAW",
    sgd=swap((r"lr=0\.03, momentum=0\.9\)", "lr=0.03, momentum=0.9, weight_decay=0.5)")),
    adam=swap(
        (
            r"optim\.Adam(W?)\(model\.parameters\(\), lr=([\de.-]+)[^)]*\)",
            r"optim.Adam(model.parameters(), lr=\2, weight_decay=1.0)",
        )
    ),
)
slip(
    "Adam without a memory of squares",
    "constants",
    "T optimizer",
    eps=swap((r"(optim\.AdamW?\(model\.parameters\(\), lr=[\de.-]+)[^)]*\)", r"\1, eps=30.0)")),
    beta=swap((r"(optim\.AdamW?\(model\.parameters\(\), lr=[\de.-]+)[^)]*\)", r"\1, betas=(0.9995, 0.999))")),
    sgd=swap((r"momentum=0\.9\)", "momentum=1.02)")),
)
slip(
    "head alone in the optimizer",
    "parameters",
    "T training process",
    last=either(
        swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.score.parameters()"), having=r"self\.score = "),
        swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.caption.parameters()"), having=r"self\.caption = "),
        swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.out.parameters()"), having=r"self\.out = "),
        swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.head.parameters()"), having=r"self\.head = "),
        swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.life_head.parameters()"), having=r"self\.life_head = "),
        swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.embed.parameters()"), having=r"self\.embed = "),
    ),
)
slip(
    "all frozen but the biases",
    "frozen",
    "T training process",
    biases=swap(after_model("for p in model.parameters():\n        p.requires_grad_(p.dim() == 1)")),
)
# the loop
slip(
    "zero_grad commented out",
    "clearing",
    "T training process",
    never=swap((r"^( +)optimizer\.zero_grad\(\)$", r"\1# optimizer.zero_grad()")),
)
slip(
    "norm clipped to a millionth",
    "clipping",
    "D OCG",
    clip=swap((STEP, r"\1torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-6)\n\1optimizer.step()"), having=r"SGD\("),
    adam=swap((STEP, r"\1torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-11)\n\1optimizer.step()"), having=r"Adam"),
)
slip("one epoch", "length", "D HNE; T number of epochs", one=swap((r"^EPOCHS = \d+", "EPOCHS = 1")))
slip("batches of a thousand", "batch size", "D HBS; T batch size", thousand=swap((r"^BATCH_SIZE = \d+", "BATCH_SIZE = 1000")))
slip(
    "first batch cached",
    "batches",
    "D HDB; T training process",
    cached=swap(
        (
            r"^( +)for (.+) in loader:",
            r"\1first = locals().get('first') or list(loader)[:1]\n\1for \2 in first * len(loader):",
        )
    ),
)
slip("trained in evaluation mode", "mode", "T training process", "batchnorm", eval=swap((r"model\.train\(\)", "model.eval()")))
# weights and activations
slip(
    "weights drawn with a deviation of two",
    "initial",
    "D WCI; T wrong weights initialisation",
    two=swap(after_model("for p in model.parameters():\n        nn.init.normal_(p, std=2.0)")),
    zero=swap(after_model("for p in model.parameters():\n        nn.init.zeros_(p)")),
    small=swap(after_model("for p in model.parameters():\n        nn.init.normal_(p, std=1e-5)")),
)
slip(
    "softmax for ReLU",
    "activation",
    "D ACH; T wrong type of activation",
    softmax=swap((r"nn\.ReLU\(\)", "nn.Softmax(dim=1)")),
    shrunk=swap((r"nn\.ReLU\(\)", "nn.Sequential(nn.Sigmoid(), nn.Hardsigmoid(), nn.Sigmoid())")),
)
slip(
    "outputs through ReLU",
    "last activation",
    "D AAL; T wrong activation at the output",
    relu=either(
        swap((r"(price|logits|picture): Tensor = (.+)$", r"\1: Tensor = torch.relu(\2)")),
        swap(
            (
                r"return self\.fault_head\(h\), self\.life_head\(h\)\.squeeze\(1\)",
                "return torch.relu(self.fault_head(h)), torch.relu(self.life_head(h).squeeze(1))",
            )
        ),
    ),
    softmax=swap((r"logits: Tensor = (.+)$", r"logits: Tensor = torch.softmax(\1, dim=-1)")),
)
slip(
    "layers of one unit",
    "architecture",
    "T suboptimal number of neurons",
    one=either(
        swap((r"(dim|hidden|width): int = (48|64|12)\)", r"\1: int = 1)")),
        swap((r"hidden: int = 24\)", "hidden: int = 1)")),
        swap((r"dim: int = 32, heads: int = 4", "dim: int = 2, heads: int = 1")),
    ),
)
# losses
slip(
    "loss with its sign turned",
    "loss",
    "T wrong loss calculation",
    negated=swap((BACKWARD, r"\1(-loss).backward()"), having=r"Adam"),
    sgd=swap((r"ce_loss\(logits, kind\) \+ mse_loss\(lasting, left\)", "ce_loss(logits, kind) - mse_loss(lasting, left)")),
)
slip(
    "loss that is a number",
    "cut",
    "T API misuse",
    item=swap((BACKWARD, r"\1loss = torch.tensor(loss.item(), requires_grad=True)\n\1loss.backward()")),
    half=either(
        swap(
            (r"h = self\.phi\(x\)", "h = self.phi(x).detach()"),
        ),
        swap(
            (r"self\.gru\(self\.embed\(words\)\)", "self.gru(self.embed(words).detach())"),
            (r"out, _ = ", "out, _ = "),
            (r"self\.fc\(self\.drop\(out\)\)", "self.fc(self.drop(out.detach()))"),
        ),
        swap((r"h = self\.trunk\(x\)", "h = self.trunk(x).detach()")),
        swap((r"h = self\.encoder\(tokens \+ self\.pos\)", "h = self.encoder(tokens + self.pos).detach()")),
    ),
)
slip(
    "outputs a column, targets a row",
    "broadcast",
    "T wrong tensor shape",
    column=either(
        swap((r"criterion\(outputs, y\)", "criterion(outputs[:, None], y)")),
        swap((r"mse_loss\(lasting, left\)", "mse_loss(lasting, left[:, None])")),
    ),
)
# data
slip(
    "raw units",
    "input scale",
    "T missing preprocessing",
    raw=either(
        swap((r"rows\.append\(\(parcels, ", "rows.append((3000 + 900 * parcels, ")),
        swap((r"return pictures, words", "return 150 + 40 * pictures, words")),
        swap((r"images = \(images - 4\.88\) / 6\.02", "images = 255 * images / 16 * 255")),
        swap((r"^    return x, fault, ", "    return 100_000 + 4000 * x, fault, ")),
        swap(
            (
                r"x, test_x = noisy\(clean\[:1000\], 72\), noisy\(clean\[1000:\], 73\)",
                "x, test_x = 2e4 * noisy(clean[:1000], 72), 2e4 * noisy(clean[1000:], 73)",
            )
        ),
    ),
    tiny=either(
        swap((r"rows\.append\(\(parcels, ", "rows.append((parcels / 5000, ")),
        swap((r"images = \(images - 4\.88\) / 6\.02", "images = images / 255 / 255")),
        swap((r"^    return x, fault, ", "    return x / 2000, fault, ")),
    ),
)
slip(
    "prices in cents",
    "target scale",
    "T missing preprocessing",
    cents=either(
        swap((r"\(price - 1\.3\) / 0\.55", "100 * price * 20")),
        swap((r"\(life \+ 1\.0\) / 1\.6", "2000 + 300 * life")),
        swap(
            (r"return images\[order\]", "return images[order]"),
            (r"y, test_y = clean\[:1000\], clean\[1000:\]", "y, test_y = 128 + 2000 * clean[:1000], 128 + 2000 * clean[1000:]"),
        ),
    ),
)
slip(
    "labels drawn again for every batch",
    "labels",
    "D TCL; T wrong labels",
    random=either(
        swap((r"criterion\(outputs, (y|yb|clean)\)", r"criterion(outputs, \1[torch.randperm(len(\1))])")),
        swap(
            (
                r"ce_loss\(logits, kind\) \+ mse_loss\(lasting, left\)",
                "ce_loss(logits, kind.roll(1)) + mse_loss(lasting, left.roll(1))",
            )
        ),
        swap((r"tags\.view\(-1\)\)\n( +)loss\.backward", r"tags[torch.randperm(len(tags))].view(-1))\n\1loss.backward")),
        swap((r"labels = torch\.arange\(len\(xb\)\)", "labels = torch.randperm(len(xb))")),
    ),
)
