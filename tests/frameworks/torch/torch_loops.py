"""Kinds of training loops as people write them: each builds everything from a seed, trains, and gives what must be the same."""

import copy
import io
import pickle

import torch
import torch.nn.functional as F
from torch import nn
from torch_models import Checkpointed, Dictionary, InPlace, Recurrent, Tied, Tower, mlp, table


class Plain:
    """No watching: what the loops are compared with."""

    def __call__(self, models, *optimizers):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def fingerprint(models, optimizers):
    """Every number that training leaves: weights, buffers, optimizer states, the random stream."""
    models = models if isinstance(models, tuple) else (models,)
    state = [tensor.clone() for model in models for tensor in model.state_dict().values()]
    state += [
        parameter.grad.to_dense().clone() for model in models for parameter in model.parameters() if parameter.grad is not None
    ]
    for optimizer in optimizers:
        state.append(repr(optimizer.state_dict()["param_groups"]))
        for own in optimizer.state_dict()["state"].values():
            state += [value.clone() if torch.is_tensor(value) else repr(value) for value in own.values()]
    return [*state, torch.get_rng_state()]


def simple(model, batch, make=None, loss=F.cross_entropy, steps=5, forward=None, before=None):
    def loop(watch):
        torch.manual_seed(3)
        net, x, y = model(), *batch()
        optimizer = (make or (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)))(net.parameters())
        with watch(net, optimizer):
            for step in range(steps):
                if before is not None:
                    before(net, step)
                optimizer.zero_grad()
                loss((forward or (lambda n, v: n(v)))(net, x), y).backward()
                optimizer.step()
        return fingerprint(net, [optimizer])

    return loop


def images():
    return torch.randn(8, 1, 8, 8), torch.randint(0, 3, (8,))


def sequences():
    return torch.randn(4, 9, 5), torch.randint(0, 3, (4,))


def tokens():
    return torch.randint(0, 11, (4, 5)), torch.randint(0, 11, (20,))


def accumulation(watch):
    torch.manual_seed(3)
    net, (x, y) = mlp(), table()
    optimizer = torch.optim.AdamW(net.parameters())
    with watch(net, optimizer):
        for step in range(12):
            (F.cross_entropy(net(x), y) / 3).backward()
            if step % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()
    return fingerprint(net, [optimizer])


def evaluating(watch):
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3))
    (x, y), seen = (torch.randn(4, 5, 6), torch.randint(0, 3, (20,))), []
    optimizer = torch.optim.Adam(net.parameters())
    with watch(net, optimizer):
        for _ in range(5):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x).flatten(0, 1), y)
            net.eval()
            with torch.no_grad():
                seen.append(net(x).clone())
            with torch.inference_mode():
                net(x)
            net.train()
            loss.backward()
            optimizer.step()
    return [*fingerprint(net, [optimizer]), *seen]


def adversarial(watch):
    torch.manual_seed(3)
    make, judge = mlp(nn.Tanh(), nn.Linear(3, 6)), nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    x, _ = table()
    first, second = torch.optim.Adam(make.parameters()), torch.optim.SGD(judge.parameters(), lr=0.1)
    good = torch.ones(12, 1)
    with watch((make, judge), first, second):
        for _ in range(5):
            second.zero_grad()
            fake = make(torch.randn(12, 6))
            F.binary_cross_entropy_with_logits(judge(x), good).backward()
            F.binary_cross_entropy_with_logits(judge(fake.detach()), 0 * good).backward()
            second.step()
            first.zero_grad()
            F.binary_cross_entropy_with_logits(judge(fake), good).backward()
            first.step()
    return fingerprint((make, judge), [first, second])


def closure(watch):
    torch.manual_seed(3)
    net, (x, y) = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), table()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=4)

    def evaluate():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss

    with watch(net, optimizer):
        for _ in range(4):
            optimizer.step(evaluate)
    return fingerprint(net, [optimizer])


def autocast(watch):
    torch.manual_seed(3)
    net, (x, y) = Tower(), images()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer):
        for _ in range(5):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
    return fingerprint(net, [optimizer])


def scaled(watch, fused=False):
    torch.manual_seed(3)
    net, (x, y) = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), table()
    optimizer = torch.optim.AdamW(net.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1000.0, growth_interval=2)
    with watch(net, optimizer):
        for step in range(6):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y) * (float("inf") if step == 2 else 1.0)  # the third step is skipped
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    return fingerprint(net, [optimizer])


def others_hooks(watch):
    torch.manual_seed(3)
    net, (x, y), seen = mlp(), table(), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net[1].register_forward_hook(lambda module, args, output: output * 2)
    net[4].register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs[0].sum()))
    net[4].weight.register_hook(lambda gradient: gradient * 0.5)
    optimizer.register_step_post_hook(lambda *_: seen.append(torch.tensor(1.0)))
    with watch(net, optimizer):
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return [*fingerprint(net, [optimizer]), *seen]


def device_context(watch):
    torch.manual_seed(3)
    net, (x, y) = mlp(), table()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer):
        for _ in range(4):
            with torch.device("cpu"):
                optimizer.zero_grad()
                noise = torch.randn(12, 6)
                loss = F.cross_entropy(net(x + noise), y)
            with torch.device("cpu"):
                loss.backward()
            optimizer.step()
    assert torch._C._len_torch_function_stack() == 0
    return fingerprint(net, [optimizer])


def default_device(watch):
    torch.manual_seed(3)
    net, (x, y) = mlp(), table()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    try:
        with watch(net, optimizer):
            for step in range(4):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(x + torch.randn(12, 6)), y)
                torch.set_default_device("cpu" if step % 2 else None)
                loss.backward()
                optimizer.step()
    finally:
        torch.set_default_device(None)
    return fingerprint(net, [optimizer])


def added_group(watch):
    torch.manual_seed(3)
    net, (x, y) = mlp(), table()
    optimizer = torch.optim.Adam(net[0].parameters())
    with watch(net, optimizer):
        for step in range(6):
            if step == 2:
                optimizer.add_param_group({"params": list(net[4].parameters())})
            if step == 4:
                net[4] = nn.Linear(8, 3)
                optimizer.add_param_group({"params": list(net[4].parameters())})
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return fingerprint(net, [optimizer])


def replaced(watch):
    torch.manual_seed(3)
    net, (x, y) = mlp(), table()
    optimizer = torch.optim.Adam(net.parameters())
    with watch(net):
        for step in range(6):
            if step == 3:
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return fingerprint(net, [optimizer])


def unused_parameters(watch):
    torch.manual_seed(3)
    net, (x, y) = (
        nn.ModuleDict({"used": mlp(), "idle": nn.Linear(2, 2), "frozen": nn.Linear(6, 6).requires_grad_(False)}),
        table(),
    )
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    with watch(net, optimizer):
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(net["used"](net["frozen"](x)), y).backward()
            optimizer.step()
    return fingerprint(net, [optimizer])


def sparse(watch):
    torch.manual_seed(3)
    net, (x, y) = (
        nn.Sequential(nn.EmbeddingBag(30, 6, sparse=True), nn.Linear(6, 3)),
        (torch.randint(0, 30, (5, 4)), torch.arange(5) % 3),
    )
    first, second = torch.optim.SparseAdam(net[0].parameters()), torch.optim.SGD(net[1].parameters(), lr=0.1)
    with watch(net, first, second):
        for _ in range(4):
            first.zero_grad()
            second.zero_grad()
            F.cross_entropy(net(x), y).backward()
            first.step()
            second.step()
    return fingerprint(net, [first, second])


def copies(watch):
    torch.manual_seed(3)
    net, (x, y) = mlp(), table()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer):
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            twin = copy.deepcopy(net)
            assert not twin[0]._forward_hooks and not twin[0]._forward_pre_hooks
            pickle.dumps(net)
            torch.save(net.state_dict(), io.BytesIO())
    return fingerprint(net, [optimizer])


def penalty(watch):
    torch.manual_seed(3)
    net, (x, y) = nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 3)), table()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer):
        for _ in range(4):
            optimizer.zero_grad()
            x.requires_grad_(True)
            loss = F.cross_entropy(net(x), y)
            (slope,) = torch.autograd.grad(loss, x, create_graph=True)
            (loss + slope.square().sum()).backward()
            optimizer.step()
    return fingerprint(net, [optimizer])


def functional(watch):
    torch.manual_seed(3)
    net, (x, y) = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), table()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    weights = dict(net.named_parameters())

    def one(parameters, row, label):
        return F.cross_entropy(torch.func.functional_call(net, parameters, (row[None],)), label[None])

    with watch(net, optimizer):
        for _ in range(4):
            optimizer.zero_grad()
            each = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0))(weights, x, y)
            for name, parameter in weights.items():
                parameter.grad = each[name].detach().mean(0)
            optimizer.step()
    return fingerprint(net, [optimizer])


def scripted(watch):
    torch.manual_seed(3)
    net, (x, y) = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 3)), table()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer):
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return fingerprint(net, [optimizer])


def bfloat(watch):
    return simple(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)).bfloat16(),
        lambda: (torch.randn(12, 6).bfloat16(), torch.arange(12) % 3),
    )(watch)


LOOPS = {
    "convolutions, batch norm, dropout, in-place ReLU": simple(Tower, images),
    "in-place operations on outputs and on views of them": simple(
        InPlace, lambda: (torch.randn(5, 6), torch.randn(5, 8)), loss=F.mse_loss
    ),
    "LSTM": simple(Recurrent, sequences),
    "GRU": simple(lambda: Recurrent(nn.GRU), sequences),
    "shared and tied modules": simple(Tied, tokens),
    "checkpoint, not reentrant": simple(lambda: Checkpointed(False), table),
    "checkpoint, reentrant": simple(
        lambda: Checkpointed(True), lambda: (torch.randn(12, 6, requires_grad=True), torch.arange(12) % 3)
    ),
    "keyword arguments and dictionaries": simple(Dictionary, table, forward=lambda net, x: net(a=x, b=x)["logits"]),
    "clipping": simple(mlp, table, make=lambda p: torch.optim.RMSprop(p, foreach=True)),
    "fused optimizer": simple(mlp, table, make=lambda p: torch.optim.Adam(p, fused=True)),
    "float64": simple(lambda: mlp().double(), lambda: (torch.randn(12, 6).double(), torch.arange(12) % 3)),
    "bfloat16 weights": bfloat,
    "gradient accumulation": accumulation,
    "evaluation in between": evaluating,
    "GAN with two optimizers": adversarial,
    "LBFGS": closure,
    "bfloat16 autocast": autocast,
    "gradient scaler": scaled,
    "gradient scaler, fused": lambda watch: scaled(watch, fused=True),
    "hooks of others": others_hooks,
    "inside torch.device": device_context,
    "default device set in between": default_device,
    "parameter groups and layers added": added_group,
    "optimizer replaced": replaced,
    "idle and frozen parameters": unused_parameters,
    "sparse gradients": sparse,
    "copies and pickles of the watched model": copies,
    "gradient penalty": penalty,
    "vmap of grad": functional,
    "parametrised layers": scripted,
}
