from training.experiments import EXPERIMENTS


def test_members_and_teachers_come_before_those_made_of_them() -> None:
    made: set[str] = set()
    for name, experiment in EXPERIMENTS.items():
        needed = {*experiment.members, *([experiment.teacher] if experiment.teacher else [])}
        assert needed <= made, name
        made.add(name)
