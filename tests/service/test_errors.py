"""What can go wrong, without a service around it."""

from service.errors import InternalError, NotFound, counted


def test_one_is_no_plural_and_thousands_are_separated() -> None:
    assert [counted(number, "file") for number in (0, 1, 1025)] == ["0 files", "1 file", "1,025 files"]


def test_a_body_is_the_same_as_a_model() -> None:
    problem = NotFound("nothing")
    assert problem.body("/x").model_dump() == problem.members("/x")
    assert problem.body().model_dump() == problem.members()


def test_what_failed_inside_is_for_the_log_alone() -> None:
    assert InternalError().detail == "something failed inside the service; it is in the log"
