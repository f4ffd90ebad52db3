"""Slips in the model and the loss of a script."""

from __future__ import annotations

from faults.scripted import either, slip, swap
from faults.slips_in_training import after_model

# initial weights
slip(
    "weights between zero and one",
    "initial",
    "D WCI; T wrong weights initialisation",
    uniform=swap(after_model(r"for p in \2.parameters():\n\1    nn.init.uniform_(p)")),
    pair=swap((r"^( +)netG, netD = (.+)$", r"\1netG, netD = \2\n\1for p in netG.parameters():\n\1    nn.init.uniform_(p)")),
)
slip(
    "gain far too large",
    "initial",
    "D WCI; T wrong weights initialisation",
    orthogonal=swap(
        after_model(r"for p in \2.parameters():\n\1    if p.dim() > 1:\n\1        nn.init.orthogonal_(p, gain=15.0)")
    ),
)
slip(
    "last layer far too large",
    "initial",
    "D WCI; T wrong weights initialisation",
    last=swap(after_model(r"nn.init.normal_(list(\2.parameters())[-2], std=100.0)")),
)
# activations
slip(
    "hard sigmoid everywhere",
    "activation",
    "D ACH; T wrong type of activation",
    module=swap((r"nn\.ReLU\((inplace=True)?\)|nn\.GELU\(\)", "nn.Hardsigmoid()")),
    function=swap((r"F\.(relu|elu)\(|torch\.(tanh|relu)\(", "nn.functional.hardsigmoid(")),
)
slip(
    "dead zone around zero",
    "activation",
    "D ACH; T wrong type of activation",
    module=swap((r"nn\.ReLU\((inplace=True)?\)", "nn.Softshrink(3.0)")),
    function=swap((r"F\.(relu|elu)\((?!MARGIN)(.+)\)$|torch\.(tanh|relu)\((.+)\)$", r"nn.functional.softshrink(\2\4, 3.0)")),
)
slip(
    "gain before the activation",
    "activation",
    "D ACH; T wrong type of activation",
    tanh=swap(
        (r"F\.(relu|elu)\(|torch\.(tanh|relu)\(", "torch.tanh(100 * "), having=r"F\.(relu|elu)\((?!MARGIN)|torch\.(tanh|relu)\("
    ),
)
slip(
    "log-softmax between layers",
    "activation",
    "D ACH; T wrong type of activation",
    module=swap((r"nn\.ReLU\((inplace=True)?\)|nn\.GELU\(\)", "nn.LogSoftmax(dim=1)")),
    function=swap((r"F\.(relu|elu)\((?!MARGIN)(.+)\)$|torch\.(tanh|relu)\((.+)\)$", r"nn.functional.log_softmax(\2\4, dim=1)")),
)
# the last activation
slip(
    "outputs clamped to probabilities",
    "last activation",
    "T wrong activation at the output",
    resnet=either(
        swap((r"(logits|forecast|rent): Tensor = (.+)$", r"\1: Tensor = (\2).clamp(0, 1)")),
        swap((r"return self\.mean_head\(h\),", "return self.mean_head(h).clamp(0, 1),")),
        swap((r"loss_fn\(model\(xb\), yb\)", "loss_fn(model(xb).clamp(0, 1), yb)")),
    ),
)
slip(
    "outputs rounded before the loss",
    "cut",
    "T wrong loss calculation",
    "classes|numbers|binary",
    rounded=either(
        swap((r"criterion\((outputs|preds),", r"criterion(\1.round(),")),
        swap((r"loss_fn\(preds, ", "loss_fn(preds.round(), ")),
        swap((r"loss_fn\(model\(xb\), yb\)", "loss_fn(model(xb).round(), yb)")),
        swap((r"self\.criterion\(self\.model\(words\), tags\)", "self.criterion(self.model(words).round(), tags)")),
        swap((r"criterion\(output\.(reshape|view)\((.+?)\), ", r"criterion(output.\1(\2).round(), ")),
        swap((r"loss = masked_loss\(logits, ", "loss = masked_loss(logits.round(), ")),
        swap((r"loss = nll\(mean, logvar, ", "loss = nll(mean.round(), logvar.round(), ")),
    ),
)
slip(
    "outputs wrapped anew",
    "cut",
    "T API misuse",
    leaf=either(
        swap((r"criterion\((outputs), (\w+)\)$", r"criterion(\1.data.requires_grad_(), \2)")),
        swap((r"loss_fn\(preds, ", "loss_fn(preds.clone().detach().requires_grad_(True), ")),
        swap((r"loss_fn\(model\(xb\), yb\)", "loss_fn(torch.tensor(model(xb).tolist(), requires_grad=True), yb)")),
        swap((r"criterion\(output\.(reshape|view)\((.+?)\), ", r"criterion(output.\1(\2).data.requires_grad_(), ")),
        swap((r"^( +)student_logits = self\(x\)$", r"\1student_logits = self(x).detach().requires_grad_()")),
        swap((r"loss = nll\(mean, logvar, ", "loss = nll(mean.data.requires_grad_(), logvar.data.requires_grad_(), ")),
        swap((r"^( +)output = model\(features, adj\)$", r"\1output = model(features, adj).detach().requires_grad_()")),
        swap((r"logits = model\((x|xb)\)", r"logits = torch.tensor(model(\1).tolist(), requires_grad=True)")),
    ),
)
slip(
    "first part without its graph",
    "cut",
    "T API misuse",
    data=either(
        swap(
            (r"embedded = self\.embedding\(source\)", "embedded = self.embedding(source).data"),
            (r"state = self\.encoder\(source\)", "state = self.encoder(source).data"),
        ),
        swap(
            (r"middle = self\.down2\(self\.pool\(fine\)\)", "middle = self.down2(self.pool(fine)).data"),
            (r"fine = self\.down1\(x\)", "fine = self.down1(x).data"),
        ),
        swap(
            (r"emb = self\.drop\(self\.encoder\(x\)\)", "emb = self.drop(self.encoder(x)).data"),
            (r"output, state = self\.rnn\(emb, state\)", "output, state = self.rnn(emb, state)\n        output = output.data"),
        ),
        swap((r"self\.fc\(self\.cnn\(x\)\.flatten\(1\)\)", "self.fc(self.cnn(x).flatten(1).data)")),
        swap((r"mu, logvar = self\.encode\(x\)$", "with torch.no_grad():\n            mu, logvar = self.encode(x)")),
        swap(
            (r"h = self\.pos\(self\.embed\(x\)\)", "h = self.pos(self.embed(x)).data"),
            (r"return x \+ h$", "return x.data + h"),
        ),
        swap((r"self\.classifier\(self\.norm\(output\)\)", "self.classifier(self.norm(output.data))")),
        swap((r"self\.fc\(out\[:, -1, :\]\)", "self.fc(torch.from_numpy(out[:, -1, :].detach().numpy()))")),
        swap((r"F\.adaptive_avg_pool2d\(out, 1\)", "F.adaptive_avg_pool2d(out.data, 1)")),
        swap((r"self\.hidden\(self\.bag\(words\)\)", "self.hidden(self.bag(words)).data")),
    ),
)
# the loss
slip(
    "targets smoothed to nothing",
    "loss",
    "D LCH; T wrong loss calculation",
    smooth=swap((r"nn\.CrossEntropyLoss\(", "nn.CrossEntropyLoss(label_smoothing=1.0, ")),
    function=swap(
        (
            r"F\.cross_entropy\(logits\.reshape\(-1, LETTERS\), yb\.reshape\(-1\)\)",
            "F.cross_entropy(logits.reshape(-1, LETTERS), yb.reshape(-1), label_smoothing=1.0)",
        )
    ),
)
slip(
    "logits divided by a temperature",
    "loss",
    "T wrong loss calculation",
    hot=either(
        swap((r"criterion\((outputs|model\(words\)), ", r"criterion(\1 / 3000, ")),
        swap((r"loss_fn\(model\(xb\), yb\)", "loss_fn(model(xb) / 3000, yb)")),
        swap((r"criterion\(output\.(reshape|view)\((.+?)\), ", r"criterion(output.\1(\2) / 3000, ")),
        swap((r"^TEMPERATURE, ALPHA = 3\.0, 0\.7", "TEMPERATURE, ALPHA = 3000.0, 1.0")),
        swap((r"Categorical\(logits=policy\(x\)\)", "Categorical(logits=policy(x) / 3000)")),
        swap((r"masked_loss\(logits, y", "masked_loss(logits / 3000, y")),
        swap((r"F\.cross_entropy\(logits\.reshape\(-1, LETTERS\)", "F.cross_entropy(logits.reshape(-1, LETTERS) / 3000")),
    ),
)
slip(
    "margin loss with targets 0 and 1",
    "loss",
    "D LCH; T wrong loss function",
    "binary",
    soft=swap((r"nn\.BCEWithLogitsLoss\(\)", "nn.SoftMarginLoss()")),
)
slip(
    "probabilities clamped by hand",
    "loss",
    "D LCH; T wrong loss function",
    "binary",
    clamped=either(
        swap((r"criterion\(outputs, masks\)", "nn.functional.binary_cross_entropy(outputs.clamp(1e-7, 1 - 1e-7), masks)")),
        swap(
            (
                r"self\.criterion\(self\.model\(words\), tags\)",
                "nn.functional.binary_cross_entropy(self.model(words).clamp(1e-7, 1 - 1e-7), tags)",
            )
        ),
    ),
)
slip(
    "loss of counts on standardised numbers",
    "loss",
    "D LCH; T wrong loss function",
    "numbers",
    poisson=swap((r"nn\.MSELoss\(\)", "nn.PoissonNLLLoss()")),
    log=swap((r"return 0\.5 \* \(logvar \+ .+$", "return nn.functional.poisson_nll_loss(mean + 0 * logvar, y)")),
)
slip(
    "term of the loss turned round",
    "loss",
    "T wrong loss calculation",
    term=either(
        swap((r"\(1 - different\) \* distance\.pow\(2\) \+ different \*", "different * distance.pow(2) + (1 - different) *")),
        swap((r"0\.5 \* \(logvar \+ \(y - mean\) \*\* 2 / logvar\.exp\(\)", "0.5 * (logvar - (y - mean) ** 2 / logvar.exp()")),
        swap((r"return bce \+ 0\.3 \* kld", "return kld - 0.3 * bce")),
        swap((r"loss = -\(dist\.log_prob\(action\) \* advantage\)", "loss = (dist.log_prob(action) * advantage)")),
        swap((r"return ALPHA \* TEMPERATURE\*\*2 \* soft \+ ", "return -ALPHA * TEMPERATURE**2 * soft + ")),
        swap((r"per_step \* mask\)\.sum\(\)", "per_step * ~mask).sum()")),
    ),
)
slip(
    "weight of a term far too large",
    "loss",
    "T wrong loss calculation",
    term=either(
        swap((r"bce \+ 0\.3 \* kld", "bce + 1000 * kld")),
        swap((r"0\.03 \* dist\.entropy", "10.0 * dist.entropy")),
        swap((r"^MARGIN = 1\.0", "MARGIN = 1e-4")),
        swap((r"^TEMPERATURE, ALPHA = 3\.0, 0\.7", "TEMPERATURE, ALPHA = 3.0, 60.0")),
    ),
)
slip(
    "squeeze forgotten",
    "broadcast",
    "T wrong tensor shape",
    squeeze=either(
        swap(
            (r"self\.out\(h\)\.squeeze\(1\)", "self.out(h)"),
            (
                r"return skill\.of_numbers\(model\(test_cats, test_conts\), ",
                "return skill.of_numbers(model(test_cats, test_conts).squeeze(1), ",
            ),
        ),
        swap(
            (r"y\.unsqueeze\(-1\)", "y"),
            (r"skill\.of_numbers\(model\(x_test\), y_test\)", "skill.of_numbers(model(x_test), y_test[:, None])"),
        ),
        swap((r"nll\(mean, logvar, batch_y\)", "nll(mean, logvar, batch_y[:, 0])")),
        swap(
            (r"\.gather\(1, torch\.tensor\(actions\)\[:, None\]\)\.squeeze\(1\)", ".gather(1, torch.tensor(actions)[:, None])")
        ),
        swap((r"criterion\(out0, out1, different\)", "criterion(out0, out1, different[:, None])")),
        swap((r"dist\.log_prob\(action\) \* advantage", "dist.log_prob(action) * advantage[:, None]")),
        swap(
            (r"torch\.ones\(len\(real\)\), torch\.zeros\(len\(real\)\)", "torch.ones(len(real), 1), torch.zeros(len(real), 1)")
        ),
    ),
)
slip(
    "classes chosen before the loss",
    "raises",
    "T API misuse",
    "classes",
    argmax=either(
        swap((r"criterion\(outputs, labels\)", "criterion(outputs.argmax(1).float(), labels.float())")),
        swap((r"loss_fn\(model\(xb\), yb\)", "loss_fn(model(xb).argmax(1).float(), yb.float())")),
    ),
)
slip(
    "layers that do not fit",
    "raises",
    "T wrong tensor shape",
    size=either(
        swap((r"nn\.Linear\(48, 32\)", "nn.Linear(96, 32)")),
        swap((r"nn\.Linear\(96, 48\), nn\.ReLU\(\), nn\.Linear\(48, 8\)", "nn.Linear(96, 48), nn.ReLU(), nn.Linear(32, 8)")),
        swap((r"nn\.Linear\(12, 64\)", "nn.Linear(6, 64)")),
        swap((r"nn\.Linear\(2 \* 3 \* filters, 3\)", "nn.Linear(3 * filters, 3)")),
    ),
)
slip(
    "vocabulary too small",
    "raises",
    "T wrong tensor shape",
    "tokens",
    words=swap((r"nn\.(Embedding|EmbeddingBag)\((WORDS|LETTERS|VOCAB|vocab),", r"nn.\1(\2 - 3,"), having="WORDS|LETTERS"),
)
slip(
    "values changed that backward needs",
    "raises",
    "T API misuse",
    inplace=either(
        swap((r"h = torch\.tanh\(self\.fc2\(h\)\)", "h = torch.tanh(self.fc2(h))\n        h += 1.0")),
        swap((r"return torch\.sigmoid\(self\.fc4\(h3\)\)", "return torch.sigmoid(self.fc4(h3)).mul_(0.99)")),
        swap((r"weights = F\.softmax\((.+)$", r"weights = F.softmax(\1\n        weights[:, :, 0] = 0.0")),
    ),
)
