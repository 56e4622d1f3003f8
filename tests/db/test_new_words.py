"""The words that no use case can be called are those that Postgres itself reserves."""

from __future__ import annotations

from db.helpers import values

from headwater.scaffold import RESERVED


def test_every_word_that_postgres_reserves_is_refused_as_a_slug(postgres_url: str) -> None:
    reserved = values(postgres_url, "select word from pg_get_keywords() where catcode in ('R', 'T')")
    assert len(reserved) > 90
    assert set(reserved) <= RESERVED
