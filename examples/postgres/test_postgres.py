# SPDX-License-Identifier: MIT OR Apache-2.0
"""Twenty tests that would disturb each other on a shared server: same names,
server settings, crashes."""

from __future__ import annotations

import psycopg
import pytest
from conftest import Server, connect
from psycopg import errors

Database = psycopg.Connection


def one(database: Database, query: str) -> object:
    """The only column of the only row."""
    row = database.execute(query).fetchone()
    assert row is not None and len(row) == 1
    return row[0]


def test_it_is_the_version_of_the_image(database: Database) -> None:
    assert str(one(database, "SHOW server_version")).startswith("15.")


def test_it_is_empty(database: Database) -> None:
    assert one(database, "SELECT count(*) FROM pg_stat_user_tables") == 0
    assert one(database, "SELECT count(*) FROM pg_database WHERE NOT datistemplate") == 1


@pytest.mark.parametrize("value", [1, 2, 3])
def test_a_table_has_the_same_name_in_each_test(database: Database, value: int) -> None:
    database.execute("CREATE TABLE item (id int PRIMARY KEY)")
    database.execute("INSERT INTO item VALUES (%s)", [value])
    assert database.execute("SELECT * FROM item").fetchall() == [(value,)]


def test_the_only_database_can_be_dropped(server: Server, sockets: str, database: Database) -> None:
    with connect(server, sockets, dbname="template1") as other:
        database.close()
        other.execute("DROP DATABASE postgres WITH (FORCE)")
        assert one(other, "SELECT count(*) FROM pg_database WHERE NOT datistemplate") == 0


def test_a_role_without_rights_is_refused(server: Server, sockets: str, database: Database) -> None:
    database.execute("CREATE TABLE secret (word text)")
    database.execute("CREATE ROLE guest LOGIN")
    with connect(server, sockets, user="guest", dbname="postgres") as guest:
        with pytest.raises(errors.InsufficientPrivilege):
            guest.execute("SELECT * FROM secret")


def test_the_superuser_can_be_renamed(server: Server, sockets: str, database: Database) -> None:
    database.execute("CREATE ROLE other SUPERUSER LOGIN")
    with connect(server, sockets, user="other", dbname="postgres") as other:
        other.execute("ALTER ROLE postgres RENAME TO first")
        assert one(other, "SELECT count(*) FROM pg_roles WHERE rolname = 'first'") == 1


def test_a_setting_of_the_whole_server(database: Database) -> None:
    assert one(database, "SHOW work_mem") == "4MB"
    database.execute("ALTER SYSTEM SET work_mem = '5MB'")
    database.execute("SELECT pg_reload_conf()")
    with pytest.raises(errors.InvalidParameterValue):
        database.execute("SET work_mem = '1'")
    while one(database, "SHOW work_mem") != "5MB":
        database.execute("SELECT pg_sleep(0.01)")


def test_the_setting_of_another_test_is_not_there(database: Database) -> None:
    assert one(database, "SHOW work_mem") == "4MB"


def test_a_backend_that_is_killed_ends_all_connections(
    server: Server, sockets: str, database: Database
) -> None:
    with connect(server, sockets, dbname="postgres") as other:
        victim = one(other, "SELECT pg_backend_pid()")
        with pytest.raises(psycopg.OperationalError):
            # Crashes the backend itself: PostgreSQL cannot survive a signal
            # from inside in good order.
            database.execute(f"COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; kill -9 {victim}'")
            one(database, "SELECT pg_sleep(10)")
    with connect(server, sockets, dbname="postgres") as again:
        assert one(again, "SELECT 1") == 1


def test_unique_values(database: Database) -> None:
    database.execute("CREATE TABLE item (name text UNIQUE)")
    database.execute("INSERT INTO item VALUES ('a')")
    with pytest.raises(errors.UniqueViolation):
        database.execute("INSERT INTO item VALUES ('a')")


def test_foreign_keys(database: Database) -> None:
    database.execute("CREATE TABLE item (id int PRIMARY KEY)")
    database.execute("CREATE TABLE part (item int REFERENCES item ON DELETE CASCADE)")
    database.execute("INSERT INTO item VALUES (1)")
    database.execute("INSERT INTO part VALUES (1)")
    with pytest.raises(errors.ForeignKeyViolation):
        database.execute("INSERT INTO part VALUES (2)")
    database.execute("DELETE FROM item")
    assert one(database, "SELECT count(*) FROM part") == 0


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    database.execute("CREATE TABLE item (id int)")
    with pytest.raises(errors.DivisionByZero), database.transaction():
        database.execute("INSERT INTO item VALUES (1)")
        database.execute("SELECT 1/0")
    assert one(database, "SELECT count(*) FROM item") == 0


def test_serializable_transactions_do_not_both_win(server: Server, sockets: str, database: Database) -> None:
    database.execute("CREATE TABLE item (id int)")
    with connect(server, sockets, dbname="postgres") as other:
        for each in (database, other):
            each.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
            count = one(each, "SELECT count(*) FROM item")
            each.execute("INSERT INTO item VALUES (%s)", [count])
        database.execute("COMMIT")
        with pytest.raises(errors.SerializationFailure):
            other.execute("COMMIT")


def test_a_lock_is_held(server: Server, sockets: str, database: Database) -> None:
    assert one(database, "SELECT pg_try_advisory_lock(1)") is True
    with connect(server, sockets, dbname="postgres") as other:
        assert one(other, "SELECT pg_try_advisory_lock(1)") is False


def test_a_notification_arrives(server: Server, sockets: str, database: Database) -> None:
    database.execute("LISTEN news")
    with connect(server, sockets, dbname="postgres") as other:
        other.execute("NOTIFY news, 'hello'")
    assert [n.payload for n in database.notifies(timeout=30, stop_after=1)] == ["hello"]


def test_a_hundred_thousand_rows(database: Database) -> None:
    database.execute("CREATE TABLE item AS SELECT n, md5(n::text) AS word FROM generate_series(1, 100000) n")
    database.execute("CREATE INDEX ON item (word)")
    assert one(database, "SELECT n FROM item WHERE word = md5('4711')") == 4711


def test_rows_are_copied_in_and_out(database: Database) -> None:
    database.execute("CREATE TABLE item (id int, word text)")
    with database.cursor() as cursor:
        with cursor.copy("COPY item FROM STDIN") as copy:
            for n in range(1000):
                copy.write_row((n, f"word {n}"))
        with cursor.copy("COPY (SELECT word FROM item ORDER BY id DESC LIMIT 1) TO STDOUT") as copy:
            assert b"".join(copy) == b"word 999\n"


def test_documents_are_searched(database: Database) -> None:
    database.execute("CREATE TABLE item (document jsonb)")
    database.execute("""INSERT INTO item VALUES ('{"tags": ["a", "b"]}'), ('{"tags": []}')""")
    assert one(database, 'SELECT count(*) FROM item WHERE document @> \'{"tags": ["b"]}\'') == 1
