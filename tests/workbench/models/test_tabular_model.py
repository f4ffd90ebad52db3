"""The tabular network: quantities go through their pieces, categories through their rows, and the unseen is safe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import isograd
from isograd.cli import main
from isograd.project import river
from isograd.project.reading import load
from isograd.workbench.deploy.exporting import onnx_bytes, settled
from isograd.workbench.deploy.opening import session_of
from isograd.workbench.models import Known, build
from isograd.workbench.models.tabular import Pieces, Tabular
from isograd.workbench.train import Recipe, loss_of, make_optimizer


def test_a_quantity_passes_its_pieces_one_after_the_other() -> None:
    pieces = Pieces(torch.tensor([[0.0, 1.0, 3.0]]), 2)
    with torch.no_grad():
        pieces.weight.copy_(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    x = torch.tensor([[-1.0], [0.5], [1.0], [2.0], [9.0]])
    assert pieces(x).tolist() == [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [1.0, 0.5], [1.0, 1.0]]


def test_a_quantity_that_is_mostly_zero_is_cut_where_it_is_not() -> None:
    rows = torch.cat([torch.zeros(950, 1), torch.linspace(1, 100, 50)[:, None]])
    model = Tabular(1, 2, numbers=[0], rows=rows, bins=16)
    assert model.pieces is not None
    assert len(model.pieces.start.unique()) >= 8
    assert model(torch.tensor([[0.0], [50.0], [1e30], [-1e30]])).isfinite().all()


def test_a_constant_quantity_and_a_category_never_seen_have_finite_answers_and_gradients() -> None:
    model = Tabular(3, 2, numbers=[0], categories=[(2, 4)], rows=torch.ones(20, 3))
    answers = model(torch.tensor([[1.0, 0.5, 0.0], [2.0, 0.5, 3.0]]))
    answers.sum().backward()
    assert answers.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_what_is_neither_quantity_nor_category_goes_in_as_it_is() -> None:
    model = Tabular(3, 2, numbers=[0], categories=[(2, 4)], rows=torch.randn(50, 3)).eval()
    one, other = torch.tensor([[0.3, 0.0, 1.0]]), torch.tensor([[0.3, 1.0, 1.0]])
    assert model.plain == (1,) and not torch.allclose(model(one), model(other))


@pytest.mark.parametrize("blocks", [1, 4, 16])
def test_the_signal_does_not_grow_with_the_number_of_blocks(blocks: int) -> None:
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    model = build("tabular", inputs=(6,), outputs=2, options={"blocks": blocks, "dropout": 0.0}, seed=0, known=known(rows))
    sizes: list[float] = []
    assert isinstance(model, Tabular)
    model.norm.register_forward_pre_hook(lambda module, args: sizes.append(args[0].detach().square().mean().sqrt().item()))
    model(rows)
    assert 0.5 < sizes[0] < 2.5


def known(rows: torch.Tensor) -> Known:
    return Known(numbers=tuple(range(rows.shape[1])), rows=rows)


@pytest.mark.parametrize("options", [{}, {"blocks": 8}, {"width": 16}, {"bins": 4, "embedding": 2}])
def test_a_check_finds_no_fault_with_it(options: dict[str, object]) -> None:
    rows = torch.randn(128, 6, generator=torch.Generator().manual_seed(1))
    model = build("tabular", inputs=(6,), outputs=2, options=options, seed=0, known=known(rows))
    optimizer = make_optimizer(model.parameters(), Recipe(learning_rate=2e-3))
    report = isograd.check(model, (rows, (rows[:, 0] > 0).long()), loss_of("classification"), optimizer, steps=500)
    assert report.healthy, str(report)


def test_onnx_gives_what_torch_gives() -> None:
    draw = torch.Generator().manual_seed(0)
    rows = torch.cat([torch.randn(60, 3, generator=draw), torch.randint(0, 4, (60, 1), generator=draw)], dim=1)
    model = settled(Tabular(4, 3, numbers=[0, 1], categories=[(3, 4)], rows=rows))
    session = session_of(onnx_bytes(model, rows))
    for count in (60, 1):
        found = session.run(None, {"input": rows[:count].numpy()})[0]
        assert np.abs(found - model(rows[:count]).detach().numpy()).max() < 1e-5


def test_a_table_goes_down_the_whole_river(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    lines = [
        f"{a:.3f},{'rgb'[i % 3]},{'' if i % 7 == 0 else i % 5},{'yes' if a > 0 else 'no'}"
        for i, a in enumerate(draw.normal(size=300))
    ]
    (tmp_path / "t.csv").write_text("a,colour,gaps,y\n" + "\n".join(lines), "utf-8")
    (tmp_path / "isograd.toml").write_text(
        'task = "classification"\n[data]\nsource = "t.csv"\ntarget = "y"\n[model]\nkind = "tabular"\n', "utf-8"
    )
    run = river.run_training(load(tmp_path))
    _, judged = river.evaluate_run(tmp_path)
    river.export_run(tmp_path)
    assert judged.metrics[0].value > 0.9
    report = (run.path / "report.json").read_text("utf-8")
    assert '"critical"' not in report and '"warning"' not in report
    (tmp_path / "new.csv").write_text("a,colour,gaps\n2.0,never,\n", "utf-8")
    assert main(["predict", str(run.bundle), str(tmp_path / "new.csv")]) == 0
    said = capsys.readouterr()
    assert "yes" in said.out and "unseen in training" in said.err
