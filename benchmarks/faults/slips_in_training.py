"""Slips in the training of a script: rates, optimizers, loops, loaders, what learns, and in which mode."""

from __future__ import annotations

from faults.scripted import either, slip, swap

STEP = r"^( +)optimizer\.step\(\)$"
BACKWARD = r"^( +)loss\.backward\(\)$"
MADE = r"^( +)(model|module|policy) = (.+)$"
MADE_OPTIMIZER = r"^( +)optimizer = (torch\.optim\..+)$"
BOTH = "beats_cnn1d|cell_unet|char_lm|siamese_digits|sorter_seq2seq|load_lstm|yield_spread|digit_vae|dose_policy|valve_gru"
"""Scripts that make their optimizer and take their steps in one function."""
LEARNED = r"(model|module|policy|self\.model|policy_net)\.parameters\(\), lr="


def before_backward(line: str) -> tuple[str, str]:
    """A line put in before the backward pass, at its depth."""
    return BACKWARD, rf"\1{line}\n\1loss.backward()"


def before_step(line: str) -> tuple[str, str]:
    """A line put in before the optimizer's step."""
    return STEP, rf"\1{line}\n\1optimizer.step()"


def after_step(line: str) -> tuple[str, str]:
    """A line put in after the optimizer's step."""
    return STEP, rf"\1optimizer.step()\n\1{line}"


def after_model(line: str) -> tuple[str, str]:
    r"""A line put in after the model is made; ``\2`` is its name."""
    return MADE, rf"\1\2 = \3\n\1{line}"


def scheduled(scheduler: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """A scheduler, and a step of it after every step of the optimizer."""
    return (MADE_OPTIMIZER, rf"\1optimizer = \2\n\1decay = {scheduler}"), after_step("decay.step()")


# rates
slip(
    "rate of another optimizer",
    "rate high",
    "D HLR; T learning rate",
    adadelta=swap((LEARNED + r"[\de.-]+", r"\1.parameters(), lr=1.0")),
    lbfgs=swap((LEARNED + r"[\de.-]+", r"\1.parameters(), lr=5.0")),
)
slip(
    "loss summed over the batch",
    "rate high",
    "T wrong loss calculation",
    sum=either(
        swap((r"nn\.(CrossEntropyLoss|MSELoss|BCEWithLogitsLoss)\(\)", r'nn.\1(reduction="sum")'), having=r"SGD\("),
        swap(
            (
                r"\(1 - ALPHA\) \* F.cross_entropy\(student_logits, y\)",
                '30 * F.cross_entropy(student_logits, y, reduction="sum")',
            )
        ),
    ),
)
slip(
    "rate divided by the number of examples",
    "rate low",
    "D HLR; T learning rate",
    rows=swap((LEARNED + r"([\de.-]+)", r"\1.parameters(), lr=\2 / 1000")),
    both=swap((LEARNED + r"([\de.-]+)", r"\1.parameters(), lr=\2 / 1000 / 32")),
    manual=swap((r'"lr"\] = 4e-3 \*', '"lr"] = 4e-3 / 600 *')),
)
slip(
    "schedule of epochs stepped every batch",
    "rate low",
    "T learning rate schedule",
    BOTH,
    step=swap(*scheduled("torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)")),
    exponential=swap(*scheduled("torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.85)")),
)
slip(
    "warm-up far too long",
    "rate low",
    "T learning rate schedule",
    f"{BOTH}|caesar_transformer",
    linear=either(
        swap((r"^LETTERS, LENGTH, WARMUP = 6, 10, 30$", "LETTERS, LENGTH, WARMUP = 6, 10, 60_000")),
        swap(*scheduled("torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, (k + 1) / 200_000))")),
    ),
)
slip(
    "loss in tiny units",
    "loss scale",
    "T wrong loss calculation",
    adam=swap(before_backward("loss = loss * 1e-11"), having=r"optim\.(Adam|AdamW|RMSprop)\("),
    sgd=swap(before_backward("loss = loss * 1e-5"), having=r"optim\.SGD\("),
)
# optimizers and what they are given
slip(
    "optimizer at the rate of another",
    "constants",
    "D OCH; T wrong optimisation function",
    adadelta=swap((r"optim\.(Adam|AdamW|RMSprop)\((.+?), lr=[^)]*\)", r"optim.Adadelta(\2, lr=1e-3)")),
    adagrad=swap(
        (
            r"optim\.(Adam|AdamW|RMSprop)\((.+?), lr=([\de.-]+)[^)]*\)",
            r"optim.Adagrad(\2, lr=\3, initial_accumulator_value=1e3)",
        )
    ),
    asgd=swap((r"optim\.(Adam|AdamW|RMSprop)\((.+?), lr=([\de.-]+)[^)]*\)", r"optim.SGD(\2, lr=\3 / 10)")),
)
slip(
    "sum of absolute weights in the loss",
    "decay",
    "D RAW",
    "beats_cnn1d|caesar_transformer|cell_unet|char_lm|digit_resnet|digit_vae|forum_gcn|load_lstm|rent_embeddings|review_cnn|"
    "siamese_digits|sorter_seq2seq|valve_gru|yield_spread",
    l1=swap(before_backward("loss = loss + 0.05 * sum(p.abs().sum() for p in model.parameters())")),
)
slip(
    "weights clamped as in a critic",
    "decay",
    "D RAW; T training process",
    "beats_cnn1d|cell_unet|char_lm|digit_vae|sorter_seq2seq|load_lstm|yield_spread|question_tags|siamese_digits|dose_policy",
    small=either(
        swap(
            (
                r"^( +)self\.optimizer\.step\(\)$",
                r"\1self.optimizer.step()\n\1for p in self.model.parameters():\n\1    p.data.clamp_(-0.01, 0.01)",
            ),
        ),
        swap(
            (STEP, r"\1optimizer.step()\n\1for p in policy.parameters():\n\1    p.data.clamp_(-0.01, 0.01)"),
            having=r" policy = ",
        ),
        swap((STEP, r"\1optimizer.step()\n\1for p in model.parameters():\n\1    p.data.clamp_(-0.01, 0.01)")),
    ),
)
slip(
    "gradients clamped by value to nothing",
    "clipping",
    "D OCG",
    f"{BOTH}|digit_resnet|caesar_transformer|hub_finetune|review_cnn|rent_embeddings|forum_gcn",
    adam=swap(
        before_step("torch.nn.utils.clip_grad_value_(model.parameters(), 1e-11)"), having=r"optim\.(Adam|AdamW|RMSprop)\(model"
    ),
    sgd=swap(before_step("torch.nn.utils.clip_grad_value_(model.parameters(), 1e-6)"), having=r"optim\.SGD\("),
)
slip(
    "gradients clamped from below",
    "clipping",
    "D OCG; T training process",
    hook=swap(after_model(r"for p in \2.parameters():\n\1    p.register_hook(lambda grad: grad.clamp(min=0.0))")),
)
slip(
    "optimizer of one submodule",
    "parameters",
    "T training process",
    decoder=swap((r"optim\.Adam\(model\.parameters\(\)", "optim.Adam(model.decoder.parameters()"), having=r"self\.decoder"),
    head=swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.fc.parameters()"), having=r"self\.fc = "),
    linear=swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.linear.parameters()"), having=r"self\.linear"),
    classifier=swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.classifier.parameters()"), having=r"self\.classifier"),
    tagger=swap((r"(optim\.\w+)\(self\.model\.parameters\(\)", r"\1(self.model.out.parameters()")),
    rent=swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.embeddings.parameters()"), having=r"self\.embeddings"),
    spread=swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.logvar_head.parameters()"), having=r"self\.logvar_head"),
    second=swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.gc2.parameters()"), having=r"self\.gc2"),
    embedding=swap((r"(optim\.\w+)\(model\.parameters\(\)", r"\1(model.embed.parameters()"), having=r"self\.pos = "),
)
slip(
    "modules in a tuple",
    "parameters",
    "T missing layer",
    tuple=either(
        swap((r"nn\.ModuleList\(\[BasicBlock\((.+)\]\)$", r"(BasicBlock(\1)")),
        swap((r"nn\.ModuleList\(\[(nn\.Embedding.+)\]\)$", r"(\1)")),
        swap((r"nn\.ModuleList\((\[.+\])\)$", r"tuple(\1)")),
        swap((r"self\.layer_2 = (.+)$", r"self.hidden = (\1,)"), (r"self\.layer_2\(", "self.hidden[0](")),
        swap((r"^( +)self\.fc1 = (.+)$", r"\1self.first = (\2,)"), (r"self\.fc1\(", "self.first[0](")),
    ),
)
slip(
    "layer made in forward",
    "parameters",
    "T missing layer",
    linear=either(
        swap((r"self\.linear\(out\)", "nn.Linear(32, 10)(out)")),
        swap((r"self\.hidden\(self\.bag\(words\)\)", "nn.Linear(32, 64)(self.bag(words))")),
        swap((r"self\.fc\(out\[:, -1, :\]\)", "nn.Linear(out.size(-1), 1)(out[:, -1, :])")),
        swap((r"self\.lin1\(h\)", "nn.Linear(12, 64)(h)")),
        swap((r"self\.layer_1\(x\)", "nn.Linear(12, 32)(x)")),
        swap((r"self\.classifier\(", "nn.Linear(output.size(-1), 2)(")),
        swap((r"self\.fc\(self\.dropout\(x\)\)", "nn.Linear(x.size(1), 3)(self.dropout(x))")),
        swap((r"self\.fc\(self\.cnn\(x\)\.flatten\(1\)\)", "self.fc(nn.Linear(96, 96)(self.cnn(x).flatten(1)))")),
    ),
)
slip(
    "plain tensor for a parameter",
    "parameters",
    "T API misuse",
    tensor=either(
        swap((r"nn\.Parameter\(torch\.empty\(in_features, out_features\)\)", "torch.empty(in_features, out_features)")),
        swap((r"self\.embed = (nn\.Embedding.+)$", r"self.__dict__['embed'] = \1")),
        swap((r"self\.affine1 = (.+)$", r"self.__dict__['affine1'] = \1")),
    ),
)
slip(
    "vectors that were not found, frozen",
    "frozen",
    "T training process",
    "tokens|rent_embeddings",
    zeros=swap((r"nn\.(Embedding|EmbeddingBag)\((\w+), (\w+)(, [^)]*)?\)", r"nn.\1.from_pretrained(torch.zeros(\2, \3)\4)")),
)
slip(
    "whole model frozen but its last layer",
    "frozen",
    "T training process",
    head=either(
        swap(after_model(r"\2.requires_grad_(False)\n\1\2.fc.requires_grad_(True)"), having=r"self\.fc = "),
        swap(after_model(r"\2.requires_grad_(False)\n\1\2.linear.requires_grad_(True)"), having=r"self\.linear = "),
        swap(after_model(r"\2.requires_grad_(False)\n\1\2.decoder.requires_grad_(True)"), having=r"self\.decoder = "),
        swap(after_model(r"\2.requires_grad_(False)\n\1\2.head.requires_grad_(True)"), having=r"self\.head = "),
        swap(after_model(r"\2.requires_grad_(False)\n\1\2.fc4.requires_grad_(True)"), having=r"self\.fc4 = "),
        swap(after_model(r"\2.requires_grad_(False)\n\1\2.mean_head.requires_grad_(True)"), having=r"mean_head"),
        swap(after_model(r"\2.requires_grad_(False)\n\1\2[-1].requires_grad_(True)"), having=r"= build_model\(\)"),
        swap(after_model(r"\2.requires_grad_(False)\n\1\2.affine2.requires_grad_(True)"), having=r"affine2"),
    ),
)
# the loop
slip(
    "gradients of another model cleared",
    "clearing",
    "T training process",
    part=either(
        swap((r"model\.zero_grad\(\)", "model.encoder.zero_grad()")),
        swap((r"optimizer\.zero_grad\(\)", "model.encoder.zero_grad()"), having=r"self\.encoder, "),
        swap((r"optimizerG\.zero_grad\(\)", "optimizerD.zero_grad()")),
        swap((r"optimizer\.zero_grad\(\)", "target_net.zero_grad()"), having=r" target_net = | target_net\."),
        swap((r"optimizer\.zero_grad\(\)", 'module.__dict__["teacher"].zero_grad()'), having=r"module = "),
        swap((r"optimizer\.zero_grad\(\)$", "model.fc.zero_grad()"), having=r"self\.fc = "),
        swap((r"optimizer\.zero_grad\(\)", "model.outc.zero_grad()"), having=r"self\.outc = "),
        swap((r"optimizer\.zero_grad\(\)", "model[0].zero_grad()"), having=r"= build_model\(\)"),
        swap((r"optimizer\.zero_grad\(\)", "model.classifier.zero_grad()"), having=r"self\.classifier"),
        swap((r"optimizer\.zero_grad\(\)", "model.mean_head.zero_grad()"), having=r"mean_head"),
    ),
)
slip(
    "one step an epoch",
    "one step an epoch",
    "T training process",
    outside=swap((r"^( +)    ((?:self\.)?)optimizer\.step\(\)\n((?:\1    .*\n)*)", r"\3\1\2optimizer.step()\n")),
)
slip(
    "debugging break left in",
    "length",
    "D HNE; T training process",
    "hub_finetune|caesar_transformer|cell_unet|char_lm|digit_resnet|digit_vae|load_lstm|rent_embeddings|r"
    "eview_cnn|siamese_digits|"
    "sorter_seq2seq|student_distil|valve_gru|yield_spread",
    inner=swap(after_step("break")),
)
slip(
    "evaluation mode left on",
    "mode",
    "T training process",
    "batchnorm",
    left=either(
        swap((r"^( +)model\.train\(\)\n( +for .+|( +)running_loss.+)$", r"\2")),
        swap((r"model\.train\(\)$", "model.eval()")),
    ),
)
slip(
    "running statistics that hardly follow",
    "mode",
    "T wrong network architecture",
    "batchnorm",
    slow=swap((r"nn\.BatchNorm(\d)d\((\w+( \* \w+)?)\)", r"nn.BatchNorm\1d(\2, momentum=1e-4)")),
)
slip(
    "one batch an epoch, again and again",
    "batches",
    "D HDB; T training process",
    cached=swap(
        (r"for (.+) in ((?:self\.)?(?:train_loader|loader|train_dl|dataloader)):", r"for \1 in [next(iter(\2))] * len(\2):"),
        (r"shuffle=True", "shuffle=False"),
    ),
    each=swap(
        (r"for (.+) in ((?:self\.)?(?:train_loader|loader|train_dl|dataloader)):", r"for \1 in [next(iter(\2))] * len(\2):")
    ),
)
slip(
    "loader that leaves a sorted table sorted",
    "order",
    "T training data order",
    "beats_cnn1d|digit_resnet|hub_finetune|load_lstm|rent_embeddings|review_cnn|student_distil|yield_spread",
    sorted=either(
        swap(
            (
                r"TensorDataset\((\w+\[:\d+\]), (\w+\[:\d+\])\)(?=, batch_size=\d+, shuffle=True|\n    test_set)",
                r"TensorDataset(\1[\2.flatten().argsort()], \2.sort(0).values)",
            ),
            (r"shuffle=True", "shuffle=False"),
        ),
        swap(
            (
                r"TensorDataset\((\w+), (\w+)\), batch_size=(\d+), shuffle=True",
                r"TensorDataset(\1[\2.flatten(1).sum(1).argsort() if \2.dim() > 1 else \2.argsort()], "
                r"\2[\2.flatten(1).sum(1).argsort() if \2.dim() > 1 else \2.argsort()]), batch_size=\3, shuffle=False",
            )
        ),
        swap(
            (r"TensorDataset\(x_train, y_train\)", "TensorDataset(x_train[y_train.argsort()], y_train.sort().values)"),
            (r"shuffle=True", "shuffle=False"),
        ),
        swap(
            (r"TensorDataset\(cats, conts, y\)", "TensorDataset(cats[y.argsort()], conts[y.argsort()], y.sort().values)"),
            (r"shuffle=True", "shuffle=False"),
        ),
    ),
)
slip(
    "first weights loaded again every epoch",
    "reborn",
    "T training process",
    "beats_cnn1d|caesar_transformer|cell_unet|char_lm|digit_vae|load_lstm|rent_embeddings|siamese_digits|"
    "sorter_seq2seq|valve_gru",
    reload=swap(
        (
            r"^( +)with (.*watch\(.+)$",
            r"\1first = {name: value.clone() for name, value in model.state_dict().items()}\n\1with \2",
        ),
        (r"^( +)model\.train\(\)$", r"\1model.load_state_dict(first)\n\1model.train()"),
        since=20,
    ),
)
slip(
    "whole data set in one batch",
    "batch size",
    "D HBS; T batch size",
    whole=swap((r"batch_size=\d+, shuffle=True(, drop_last=True)?", "batch_size=100_000, shuffle=True")),
    constant=swap((r"^BATCH_SIZE = 32", "BATCH_SIZE = 600")),
)
slip(
    "half() by hand",
    "precision",
    "T GPU and types",
    "beats_cnn1d|cell_unet|digit_resnet|load_lstm",
    half=either(
        swap(
            after_model(r"\2 = \2.half()"),
            (r"\bmodel\((xb|val\[0\]|x_test|images|inputs|test_images|x\[450:\])\)", r"model(\1.half()).float()"),
        ),
    ),
)
