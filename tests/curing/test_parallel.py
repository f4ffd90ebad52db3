"""Trials in processes beside one another: the answers of a sequence, nothing left behind, and what dies is told."""

import os
import signal
import time

import pytest
import torch
from curing_programs import DATA, LOSS, cured, net, sgd
from torch import nn

from isograd.health.trials import Ask
from isograd.parallel import Ahead, processes_here
from isograd.records import codec
from isograd.records.edit import Edit
from isograd.records.proof import Training
from isograd.records.skill import Skill

pytestmark = pytest.mark.skipif(processes_here() == 1 and not hasattr(os, "fork"), reason="no processes can be forked here")
EDIT = (Edit("clear_gradients"),)


def ask(number):
    return Ask(EDIT, number, "proof", 10)


def ahead(train, processes=2):
    return Ahead(lambda asked: lambda: train(asked), lambda: None, processes)


def skill(value, **changes):
    return Training(Skill(value, 5), ((10, value),), 10, **changes)


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as opened:
        return opened.read().split()


def test_answers_come_back_whole_whether_they_were_foreseen_or_not():
    pool = ahead(lambda asked: skill(asked.seed / 7))
    pool.foresee([ask(1), ask(2), ask(3)])
    assert [pool.result(ask(number)).training for number in (2, 1, 9, 3)] == [skill(n / 7) for n in (2, 1, 9, 3)]
    pool.close()
    assert children() == []


def test_no_more_than_the_processes_run_at_a_time_and_they_run_beside_one_another(tmp_path):
    def train(asked):
        (tmp_path / f"{asked.seed}").write_text(f"{time.monotonic()}")
        time.sleep(0.3)
        (tmp_path / f"{asked.seed}").write_text(f"{(tmp_path / str(asked.seed)).read_text()} {time.monotonic()}")
        return skill(0.5)

    pool = ahead(train)
    pool.foresee([ask(1), ask(2), ask(3)])
    for number in (1, 2, 3):
        pool.result(ask(number))
    spans = [tuple(map(float, (tmp_path / str(n)).read_text().split())) for n in (1, 2, 3)]
    assert spans[1][0] < spans[0][1]  # the second began before the first was over
    assert spans[2][0] >= min(spans[0][1], spans[1][1])


def test_what_is_no_longer_foreseen_is_ended(tmp_path):
    pool = ahead(lambda asked: time.sleep(60) if asked.seed == 1 else skill(0.5))
    pool.foresee([ask(1), ask(2)])
    assert len(children()) == 2
    pool.foresee([ask(2)])
    assert pool.result(ask(2)).training == skill(0.5)
    assert children() == []


def test_a_process_that_is_killed_is_tried_once_more_alone(tmp_path):
    def train(asked):
        if asked.seed == 1 and not (tmp_path / "again").exists():
            (tmp_path / "again").write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return skill(0.5)

    pool = ahead(train)
    pool.foresee([ask(1), ask(2)])
    assert pool.result(ask(1)).training == skill(0.5)
    pool.close()


def test_a_process_that_dies_twice_says_by_which_signal():
    pool = ahead(lambda asked: os.kill(os.getpid(), signal.SIGKILL))
    assert pool.result(ask(1)).killed == signal.SIGKILL
    pool.close()


def test_what_raises_is_left_to_the_one_who_asks():
    pool = ahead(lambda asked: 1 / 0)
    ended = pool.result(ask(1))
    assert ended.training is None and not ended.killed
    unmade = Ahead(lambda asked: 1 / 0, lambda: None, 2)
    unmade.foresee([ask(1)])
    assert unmade.result(ask(1)).training is None


def test_too_little_memory_beside_others_may_be_enough_alone(tmp_path):
    def train(asked):
        first = not (tmp_path / str(asked.seed)).exists()
        (tmp_path / str(asked.seed)).write_text("")
        return skill(0.5, failed="MemoryError: no") if first else skill(0.9)

    assert ahead(train).result(ask(1)).training == skill(0.9)


def test_processes_hear_no_interruption_and_end_with_the_one_that_began_them(tmp_path):
    pid = os.fork()
    if pid == 0:
        ahead(lambda asked: time.sleep(60)).foresee([ask(1), ask(2)])
        begun = children()
        time.sleep(0.3)  # until they have said that they hear none
        os.kill(int(begun[0]), signal.SIGINT)
        time.sleep(0.1)
        (tmp_path / "pids").write_text(" ".join(begun if alive(*begun) == 2 else []))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    begun = (tmp_path / "pids").read_text().split()
    assert len(begun) == 2
    deadline = time.monotonic() + 10.0
    while alive(*begun) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive(*begun) == 0


def alive(*pids):
    count = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as opened:
                count += opened.read().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            pass
    return count


def row_of(processes, build=net, rate=30.0, **options):
    return cured(build, DATA[:10], options.pop("loss", LOSS), sgd(rate), processes=processes, **options)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr("isograd.curing.processes_here", lambda: 3)


def test_trials_side_by_side_leave_the_journal_and_the_proof_of_trials_in_a_row(two_cores):
    lines = {1: [], 3: []}
    records = [row_of(count, on_tried=lines[count].append).record for count in lines]
    assert records[0] == records[1] and records[0].verdict == "proven"
    plain = [[(one.program, one.edits, one.seed, one.part, one.length, one.training) for one in lines[n]] for n in lines]
    assert plain[0] == plain[1] and children() == []
    more = []
    again = row_of(3, known=[codec.loads(type(lines[1][0]), codec.dumps(one)) for one in lines[1]], on_tried=more.append)
    assert again.record == records[0] and more == []


def test_an_interruption_ends_all_processes_and_what_was_tried_goes_on(two_cores):
    done = []

    def keep(one):
        done.append(one)
        if len(done) == 6:
            raise KeyboardInterrupt

    assert row_of(3, on_tried=keep).record.interrupted and children() == []
    rest = []
    assert row_of(3, known=done, on_tried=rest.append).verdict == "proven"
    assert not {(one.edits, one.seed, one.length) for one in done} & {(one.edits, one.seed, one.length) for one in rest}


def test_an_edit_whose_process_is_killed_counts_against_it_and_is_shown(two_cores):
    class Heavy(nn.Module):
        """Dies with another activation, away from the process of the test."""

        def __init__(self):
            super().__init__()
            self.body = net()

        def forward(self, x):
            if isinstance(self.body[1], nn.Tanh) and os.getpid() != MAIN:
                os.kill(os.getpid(), signal.SIGKILL)
            return self.body(x)

    proof = row_of(3, Heavy, rate=0.1, edits=(Edit("activation", "tanh"),))
    killed = proof.record.candidates[-1]
    assert killed.skill is None and "SIGKILL, as where memory runs out" in killed.failed
    assert proof.verdict in ("not proven", "harmful")


MAIN = os.getpid()


def test_an_untouched_program_that_kills_its_process_is_told(two_cores):
    class Deadly(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net()

        def forward(self, x):
            if os.getpid() != MAIN:
                os.kill(os.getpid(), signal.SIGKILL)
            return self.body(x)

    record = row_of(2, Deadly, edits=(Edit("clip_norm", 1.0),)).record
    assert record.verdict == "not proven" and "killed twice (SIGKILL" in record.control.failed


def test_what_no_seed_repeats_is_tried_in_a_row_and_that_is_said(two_cores):
    own = torch.Generator()
    own.seed()
    proof = row_of(2, rate=0.1, loss=lambda out, y: LOSS(out, y) * (1.0 + torch.rand((), generator=own)))
    assert any("one after the other" in remark for remark in proof.record.remarks)
