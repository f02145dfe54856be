"""docs/security.md and docs/dependencies.md say what is so."""

from schemas.topics import Topics
from streams import acls
from tests.support import licences, permits


def test_the_tables_of_acls_in_the_docs_are_the_ones_that_are_tested() -> None:
    page = permits.PAGE.read_text()
    assert page == permits.renewed(page, Topics()), "run: python -m tests.support.permits"
    assert page.count("| allow | on | named | for |") == len(permits.TITLES)


def test_no_principal_is_given_the_same_acl_twice() -> None:
    for listed in permits.TITLES:
        given = [(a.operation, a.resource, a.name) for a in listed(Topics())]
        assert len(given) == len(set(given))


def test_redriving_one_stream_needs_nothing_of_the_others() -> None:
    topics = {a.name for a in acls.redrive(Topics(), "payment") if a.resource == "Topic"}
    assert topics == {Topics().payment, Topics().dlq(Topics().payment)}


def test_the_page_of_licences_is_of_the_present_lock() -> None:
    wanted = licences.page(licences.LOCK.read_text())
    assert licences.PAGE.read_text() == wanted, "run: python -m tests.support.licences"
    assert wanted.count("\n| ") > 40
