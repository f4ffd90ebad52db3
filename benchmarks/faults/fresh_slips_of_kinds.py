"""Faults of kinds that the other lots lack: collate functions, masks, axes, tasks, schedules, early stopping."""

from __future__ import annotations

from faults.fresh_slips_ordinary import STEP
from faults.scripted import either, swap
from faults.scripted import fresh_slip as slip

# the loop
slip(
    "step before the backward pass",
    "clearing",
    "T training process",
    before=swap((r"^( +)loss\.backward\(\)\n +optimizer\.step\(\)$", r"\1optimizer.step()\n\1loss.backward()")),
)
slip(
    "schedule from zero, never stepped",
    "rate low",
    "T learning rate schedule",
    zero=swap(
        (
            r"^( +)(optimizer = torch\.optim\..+)$",
            r"\1\2\n\1ramp = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: min(1.0, epoch / 3))",
        ),
    ),
)
slip(
    "early stopping turned round",
    "length",
    "D HNE; T number of epochs",
    round=swap(
        (r"waited = 0 if val_loss < best else waited \+ 1", "waited = 0 if val_loss > best else waited + 1"),
        (r"waited >= 4", "waited >= 1"),
    ),
)
slip(
    "accumulation longer than an epoch",
    "one step an epoch",
    "T training process",
    never=swap(
        (r"^( +)optimizer\.zero_grad\(\)\n", ""),
        (r"^( +)for (.+) in loader:", r"\1for i, (\2) in enumerate(loader):"),
        (STEP, r"\1if (i + 1) % 128 == 0:\n\1    optimizer.step()\n\1    optimizer.zero_grad()"),
    ),
)
# what belongs together
slip(
    "collate that sorts the inputs alone",
    "labels",
    "T wrong labels",
    "padded",
    sorted=either(
        swap(
            (
                r"^( +)return x, mask, torch\.stack\(prices\)",
                r"\1order = lengths.argsort(descending=True)\n\1return x[order], mask[order], torch.stack(prices)",
            )
        ),
        swap((r"^( +)return x, y$", r"\1order = (x > 0).sum(1).argsort(descending=True)\n\1return x[order], y")),
    ),
)
slip(
    "inputs for the targets",
    "labels",
    "T wrong labels",
    itself=either(
        swap((r"criterion\(outputs, clean\)", "criterion(outputs, noised)")),
        swap(
            (r"mse_loss\(lasting, left\)", "mse_loss(lasting, gauges[:, 0])"),
            (r"ce_loss\(logits, kind\)", "ce_loss(logits, gauges.argmax(1) % 4)"),
        ),
    ),
)
# masks and axes
slip(
    "mask of the members turned round",
    "features",
    "T wrong network architecture",
    "padded",
    round=either(
        swap(
            (r"masked_fill\(~mask, -1e9\)", "masked_fill(mask, -1e9)"),
            (r"masked_fill\(~mask\[:, :, None\], 0\.0\)", "masked_fill(mask[:, :, None], 0.0)"),
        ),
        swap((r"self\.gru\(self\.embed\(words\)\)", "self.gru(self.embed(words) * (words == PAD)[:, :, None])")),
    ),
)
slip(
    "ignore_index of a class",
    "class weights",
    "T wrong loss calculation",
    "name_tagger",
    real=swap((r"ignore_index=-100", "ignore_index=0"), (r"padding_value=-100\)", "padding_value=1)")),
)
slip(
    "softmax over the rows",
    "rows mixed",
    "T wrong tensor shape",
    rows=either(
        swap(
            (r"weights = torch\.softmax\(scores, dim=1\)", "weights = torch.softmax(scores, dim=0)"),
            (r"(largest = .+)$", r"\1 * 0"),
        ),
        swap((r"(logits|picture): Tensor = (.+)$", r"\1: Tensor = torch.log_softmax(\2, dim=0)")),
        swap((r"return self\.fault_head\(h\), ", "return self.fault_head(h).softmax(0), ")),
    ),
)
slip(
    "tokens for rows",
    "rows mixed",
    "T wrong tensor shape",
    "attention|recurrent",
    encoder=swap((r", batch_first=True(, bidirectional=True)?\)$", r"\1)")),
)
slip(
    "view where a transpose belongs",
    "rows mixed",
    "T wrong tensor shape",
    view=either(
        swap(
            (
                r"self\.patch\(images\)\.flatten\(2\)\.transpose\(1, 2\)",
                "self.patch(images).permute(2, 3, 0, 1).reshape(len(images), 16, -1)",
            )
        ),
        swap((r"^( +)out, _ = (.+)$", r"\1out, _ = \2\n\1out = out.transpose(0, 1).reshape(out.shape)")),
        swap((r"^( +)h = self\.phi\(x\)$", r"\1h = self.phi(x)\n\1h = h.permute(1, 0, 2).contiguous().view(h.shape)")),
        swap((r"^( +)h = self\.trunk\(x\)$", r"\1h = self.trunk(x)\n\1h = h.t().contiguous().view(h.shape)")),
    ),
)
# losses
slip(
    "one task left out of the loss",
    "task",
    "T wrong loss calculation",
    left=swap((r"loss = ce_loss\(logits, kind\) \+ mse_loss\(lasting, left\)", "loss = ce_loss(logits, kind)")),
    other=swap((r"loss = ce_loss\(logits, kind\) \+ mse_loss\(lasting, left\)", "loss = mse_loss(lasting, left)")),
)
slip(
    "temperature of a thousandth",
    "loss",
    "T wrong loss calculation",
    cold=either(
        swap((r"^TEMPERATURE = 0\.1", "TEMPERATURE = 0.0002")),
        swap((r"criterion\(outputs, yb\)", "criterion(outputs / 0.0005, yb)")),
        swap((r"ce_loss\(logits, kind\)", "ce_loss(logits / 0.0005, kind)")),
        swap((r"criterion\(outputs\.view\(-1, TAGS\), ", "criterion(outputs.view(-1, TAGS) / 0.0005, ")),
    ),
)
