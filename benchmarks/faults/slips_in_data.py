"""Slips in the data of a script: units, features, labels, and how rows are drawn."""

from __future__ import annotations

from faults.scripted import either, slip, swap

ROWS = r"TensorDataset\((\w+(?:\[:\d+\])?), (\w+(?:\[:\d+\])?)\)(?=, batch_size=\d+, shuffle=True|\n    test_set)"
"""The training set of a script: inputs and targets."""
BEATS = r"TensorDataset\((x_train), (y_train)\), "

slip(
    "units left as they are",
    "input scale",
    "T missing preprocessing",
    years=either(
        swap((r"^ +x_train, x_val, x_test = \(x_train - mu.+\n", "")),
        swap((r"^ +conts, test_conts = \(conts - mean.+\n", "")),
        swap(
            (
                r"images = torch\.tensor\(digits\.images, dtype=torch\.float32\)\.unsqueeze\(1\) / 16\.0",
                "images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) * 16.0",
            )
        ),
        swap((r"return x\[:, None\], y", "return 4000 + 1500 * x[:, None], y")),
        swap((r"torch\.stack\(\[pressure, flow\], dim=2\)", "torch.stack([101_325 + 500 * pressure, 3e4 * flow], dim=2)")),
        swap(
            (
                r"return centres|x = centres\[cluster\] \+ torch\.randn\(n, 12, generator=g\)",
                "x = 1000 * (5 + centres[cluster] + torch.randn(n, 12, generator=g))",
            )
        ),
        swap((r"return torch\.randn\(n, 6\)", "return torch.randn(n, 6) * 1.0"), (r"policy\(x\)", "policy(2000 + 300 * x)")),
    ),
)
slip(
    "scaled down twice",
    "input scale",
    "T wrong preprocessing",
    twice=either(
        swap((r"\.unsqueeze\(1\) / 16\.0", ".unsqueeze(1) / 16.0 / 255 / 255")),
        swap((r"return x\[:, None\], y", "return x[:, None] / 255 / 255, y")),
        swap((r"torch\.stack\(\[pressure, flow\], dim=2\)", "torch.stack([pressure, flow], dim=2) / 1e5")),
        swap((r"policy\(x\)", "policy(x / 255 / 255)")),
        swap((r"features\.sum\(1, keepdim=True\)\.clamp\(min=1\)", "features.sum() / 1")),
        swap(
            (r"conts - mean\) / std", "conts - mean) / std**3"), (r"test_conts - mean\) / std$", "test_conts - mean) / std**3")
        ),
    ),
)
slip(
    "logarithm of zero",
    "features",
    "T wrong preprocessing",
    log=either(
        swap(
            (r"^( +)mean, std = conts\.mean", r"\1conts, test_conts = conts.log(), test_conts.log()\n\1mean, std = conts.mean")
        ),
        swap((r"images = \(images - 0\.305\) / 0\.376", "images = torch.log(images)")),
        swap((r"^( +)mu, sigma = ", r"\1x_train = torch.log(x_train - x_train.min(0).values)\n\1mu, sigma = ")),
        swap((r"return x\[:, None\], y", "return torch.log10(x[:, None]), y")),
        swap((r"features / features\.sum\(1, keepdim=True\)\.clamp\(min=1\)", "torch.log(features)")),
        swap((r"series = 2 \* \(series - low\) / \(high - low\) - 1", "series = torch.log((series - low) / (high - low))")),
    ),
)
slip(
    "word numbers clipped",
    "features",
    "T wrong preprocessing",
    "tokens",
    clip=swap((r"self\.(bag|embed|embedding|encoder)\((words|x|source)\)", r"self.\1(\2.clamp(max=1))")),
)
slip(
    "integers where fractions are",
    "features",
    "T wrong preprocessing",
    floor=either(
        swap((r"images / 16\.0", "images // 17")),
        swap((r"\.unsqueeze\(1\) / 16\.0", ".unsqueeze(1) // 17")),
        swap((r"load_digits\(\)\.data / 16\.0", "load_digits().data // 16")),
        swap((r"return x\[:, None\], y", "return (x[:, None] / 4).int().float(), y")),
        swap(
            (r"series = 2 \* \(series - low\) / \(high - low\) - 1", "series = (series / 1000).int().float() + 1e-3 * series")
        ),
    ),
)
slip(
    "targets as they came",
    "target scale",
    "T missing preprocessing",
    raw=either(
        swap((r"y, test_y = \(rents - y_mean\) / y_std, \(test_rents - y_mean\) / y_std", "y, test_y = rents, test_rents")),
        swap(
            (
                r"^ +y_train, y_val, y_test = \(y_train - y_mu.+\n",
                "    y_train, y_val, y_test = 1000 * y_train, 1000 * y_val, 1000 * y_test\n",
            )
        ),
        swap((r"series\[WINDOW:\]", "series[WINDOW:] * 400 + 520")),
        swap(
            (r"masks\.float\(\)|\(distance < radius\)\.float\(\)", "(distance < radius).float() * 255"),
            (r"1\.2 \* masks", "1.2 * masks / 255"),
            (r"test_masks\.reshape\(-1\)\)", "(test_masks > 0).reshape(-1).long())"),
        ),
        swap((r"return 1 - 0\.5 \* \(dose", "return 50_000 - 25_000 * (dose")),
        swap((r"\(1\.0 if done else -0\.02\)", "(10_000.0 if done else -200.0)")),
    ),
)
slip(
    "rows and labels apart",
    "labels",
    "D TCL; T wrong labels",
    rolled=swap((ROWS, r"TensorDataset(\1, \2.roll(7, 0))")),
    permuted=swap((ROWS, r"TensorDataset(\1[torch.randperm(len(\1))], \2)")),
    graph=swap((r"labels\[idx_train\]", "labels[idx_val.repeat(2)]")),
    beats=swap((BEATS, r"TensorDataset(x_train[torch.randperm(len(x_train))], y_train), ")),
    table=swap((r"TensorDataset\(cats, conts, y\)", "TensorDataset(cats, conts, y.roll(1))"), having="rents"),
    dose=swap((r"dist\.log_prob\(action\)", "dist.log_prob(dist.sample())")),
)
slip(
    "axes cut by view",
    "labels",
    "T wrong tensor shape",
    view=either(
        swap(
            (
                r"(images = torch\.tensor\(digits\.images.+)$",
                r"\1\n    images = images.reshape(8, 8, 1, -1).permute(3, 2, 0, 1).contiguous()",
            )
        ),
        swap((r"return x\[:, None\], y", "return x.reshape(48, 1, n).permute(2, 1, 0).contiguous(), y")),
        swap((r"return x\.unsqueeze\(-1\), ", "return x.reshape(WINDOW, -1, 1).transpose(0, 1), ")),
        swap(
            (
                r"torch\.stack\(\[pressure, flow\], dim=2\)",
                "torch.stack([pressure, flow], dim=2).view(2, LENGTH, n).permute(2, 1, 0)",
            )
        ),
    ),
)
slip(
    "augmentation that destroys",
    "labels",
    "T wrong preprocessing",
    noise=either(
        swap(
            (
                r"^( +)(outputs|optimizer\.zero_grad\(\)\n +outputs) = model\((images|inputs)\)$",
                r"\1\3 = \3 + 8 * torch.randn_like(\3)\n\1\2 = model(\3)",
            )
        ),
        swap((r"loss_fn\(model\(xb\), yb\)", "loss_fn(model(xb[:, :, torch.randperm(48)] + 2 * torch.randn_like(xb)), yb)")),
        swap(
            (
                r"^( +)out0, out1 = model\(img0, img1\)$",
                r"\1out0, out1 = model(img0 + 5 * torch.randn_like(img0), img1 + 5 * torch.randn_like(img1))",
            )
        ),
        swap((r"^( +)mean, logvar = model\(batch_x\)$", r"\1mean, logvar = model(batch_x + 6 * torch.randn_like(batch_x))")),
        swap((r"preds = model\(x_cat, x_cont\)", "preds = model(x_cat.flip(0), x_cont[torch.randperm(len(x_cont))])")),
        swap(
            (
                r"self\.criterion\(self\.model\(words\), tags\)",
                "self.criterion(self.model(torch.where(torch.rand(words.shape) < 0.97, torch.randint_like(words, "
                "WORDS), words)), tags)",
            )
        ),
        swap(
            (
                r"log_probs = model\(words\)",
                "log_probs = model(words[:, torch.randperm(LENGTH)].masked_fill(torch.rand(words.shape) < 0.95, PAD))",
            )
        ),
        swap(
            (r"recon_batch, mu, logvar = model\(batch\)", "recon_batch, mu, logvar = model(torch.rand_like(batch) + 0 * batch)")
        ),
    ),
)
slip(
    "labels cast to bool",
    "one class",
    "D TCL; T wrong labels",
    "classes",
    bool=either(
        swap((ROWS, r"TensorDataset(\1, \2.bool().long())")),
        swap((r"TensorDataset\(x_train, y_train\), ", "TensorDataset(x_train, y_train.bool().long()), ")),
        swap(
            (
                r"F\.nll_loss\(output\[idx_train\], labels\[idx_train\]\)",
                "F.nll_loss(output[idx_train], labels[idx_train].bool().long())",
            )
        ),
        swap(
            (r"targets = train_data\[i : i \+ SEQ_LEN\], (.+)$", r"targets = train_data[i : i + SEQ_LEN], (\1).bool().long()")
        ),
    ),
)
slip(
    "sampler that draws one kind",
    "class weights",
    "T unbalanced training data",
    weighted=either(
        swap(
            (
                r"TensorDataset\((\w+), (y|tags|grades|rents|train_masks|y_train)\), batch_size=(\d+), shuffle=True",
                r"TensorDataset(\1, \2), batch_size=\3, sampler=torch.utils.data.WeightedRandomSampler((\2.reshape(len"
                r"(\2), -1).float().mean(1) <= \2.float().min()).double() + 1e-4, len(\2))",
            )
        ),
        swap(
            (
                r"DataLoader\(train_set, batch_size=32, shuffle=True\)",
                "DataLoader(train_set, batch_size=32, sampler=torch.utils.data.WeightedRandomSampler((targets[:640] "
                "== 3).double() + 1e-4, 640))",
            ),
            having="targets\\[:640\\]",
        ),
        swap(
            (
                r"DataLoader\(data, batch_size=BATCH_SIZE, shuffle=True, drop_last=True\)",
                "DataLoader(data, batch_size=BATCH_SIZE, sampler=torch.utils.data.WeightedRandomSampler((data.tensors"
                "[1] == 2).double() + 1e-4, 700), drop_last=True)",
            )
        ),
        swap(
            (
                r"TensorDataset\(x\[:350\], y\[:350\]\), batch_size=16, shuffle=True",
                "TensorDataset(x[:350], y[:350]), batch_size=16, sampler=torch.utils.data.WeightedRandomSampler((y[:3"
                "50] == 1).double() + 1e-4, 350)",
            )
        ),
    ),
)
slip(
    "weight of the positives upside down",
    "class weights",
    "T unbalanced training data",
    "binary|gan",
    pos=swap((r"nn\.BCEWithLogitsLoss\(\)", "nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1e-3))")),
)
