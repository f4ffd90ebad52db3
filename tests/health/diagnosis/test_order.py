"""What a person reads first: the worst, and of equals the one that says why."""

from bodies import body
from runs import FLAT, run

from isograd.health.diagnosis import diagnose


def test_the_cause_is_told_before_the_symptom():
    told = [finding.disease for finding in diagnose(run(body(4), losses=FLAT, turning=1e-5)) if finding.severity == "critical"]
    assert told[0] == "learning_rate"
