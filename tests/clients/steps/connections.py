"""Connections."""

import contextlib
import json

import airflow_client.client as client
from airflow_client.client import models

from harness import check, equal, plain, step, subset


@contextlib.contextmanager
def connection(t, name, **fields):
    """A connection of that id while the block lasts."""
    name = t.id(name)
    yield name, plain(t.connections.post_connection(models.Connection(connection_id=name, **fields)))
    with contextlib.suppress(client.ApiException):
        t.connections.delete_connection(name)


def ids(answer):
    return [c["connection_id"] for c in answer["connections"]]


@step("connections post, get, delete: secrets do not come back")
def post(t):
    fields = {"host": "db.example.com", "port": 5432, "login": "u", "schema": "s"}
    extra = json.dumps({"sslmode": "require", "api_key": "k"})
    with connection(t, "db", conn_type="postgres", password="secret", extra=extra, **fields) as (name, seen):
        subset(seen, {"connection_id": name, "conn_type": "postgres", **fields}, "the new connection")
        equal(json.loads(seen["extra"]), {"sslmode": "require", "api_key": "***"}, "extra of the new connection")
        check("password" not in seen, "the password is not shown")
        again = plain(t.connections.get_connection(name))
        subset(again, {"connection_id": name, "conn_type": "postgres", **fields}, "the connection read again")
        equal(json.loads(again["extra"]), {"sslmode": "require", "api_key": "***"}, "extra read again")
        check("password" not in again, "the password is not shown later")
        with t.refused(409, "Conflict", "Connection already exist. ID: %s" % name):
            t.connections.post_connection(models.Connection(connection_id=name, conn_type="http"))
        equal(t.connections.delete_connection(name), None, "answer to the delete")
        gone = "The Connection with connection_id: `%s` was not found" % name
        with t.refused(404, "Connection not found", gone):
            t.connections.get_connection(name)
        with t.refused(404, "Connection not found", gone):
            t.connections.delete_connection(name)


@step("connections post: what it refuses")
def post_refused(t):
    with t.refused(400, "Bad Request", "{'conn_type': ['Missing data for required field.']}"):
        t.connections.post_connection(models.Connection(connection_id=t.id("no_type")))
    with t.refused(400, "Bad Request", "{'connection_id': ['Missing data for required field.']}"):
        t.connections.post_connection(models.Connection(conn_type="http"))
    reason = "The key '%s' has to be made of alphanumeric characters, dashes, dots and underscores exclusively"
    with t.refused(400, "Bad Request", reason % t.id("a b")):
        t.connections.post_connection(models.Connection(connection_id=t.id("a b"), conn_type="http"))


@step("connections list: order and pages")
def listing(t):
    with connection(t, "list_a", conn_type="zzz_a") as (a, _), connection(t, "list_b", conn_type="zzz_b") as (b, _):
        whole = plain(t.connections.get_connections(limit=100))
        check({a, b} <= set(ids(whole)), "both are listed: %s" % ids(whole))
        equal(whole["total_entries"], len(ids(whole)), "total_entries")
        equal(ids(plain(t.connections.get_connections(order_by="-conn_type", limit=2))), [b, a], "the last two by type")
        page = plain(t.connections.get_connections(order_by="-conn_type", limit=1, offset=1))
        equal((ids(page), page["total_entries"]), ([a], whole["total_entries"]), "the second page of one")
        by_id = ids(plain(t.connections.get_connections(order_by="connection_id", limit=100)))
        equal(by_id.index(b), by_id.index(a) + 1, "neighbours by id")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.connections.get_connections(order_by="nope")


@step("connections patch: whole, masked, unknown")
def patch(t):
    with connection(t, "patched", conn_type="http", host="a", login="u") as (name, _):
        whole = models.Connection(connection_id=name, conn_type="http", host="b", port=80)
        subset(plain(t.connections.patch_connection(name, whole)), {"host": "b", "port": 80, "login": "u"}, "patched")
        masked = models.Connection(connection_id=name, conn_type="http", host="c", login="v")
        subset(plain(t.connections.patch_connection(name, masked, update_mask=["login"])), {"host": "b", "login": "v"}, "patched by mask")
        with t.refused(400, "Bad Request", "'nope' is unknown or cannot be updated."):
            t.connections.patch_connection(name, masked, update_mask=["nope"])
        with t.refused(400, "Bad Request", "The connection_id cannot be updated."):
            t.connections.patch_connection(name, models.Connection(connection_id=name + "x", conn_type="http"))
    with t.refused(404, "Connection not found", "The Connection with connection_id: `nope` was not found"):
        t.connections.patch_connection("nope", models.Connection(connection_id="nope", conn_type="http"))


@step("connections: description", since="2.10.0")
def description(t):
    with connection(t, "described", conn_type="http", description="of the client") as (name, seen):
        equal(seen["description"], "of the client", "description")
        changed = models.Connection(connection_id=name, conn_type="http", description="changed")
        equal(plain(t.connections.patch_connection(name, changed))["description"], "changed", "the changed description")
    with connection(t, "bare", conn_type="http") as (_, seen):
        none = dict.fromkeys(("description", "host", "login", "schema", "port", "extra"))
        subset(seen, none, "a connection of a type only")


@step("connections test: says whether it works")
def test(t):
    def ask(name, **fields):
        return plain(t.connections.test_connection(models.Connection(connection_id=t.id(name), **fields)))

    seen = ask("tested", conn_type="no_such_type")
    equal((seen["status"], seen["message"]), (False, 'Unknown hook type "no_such_type"'), "a connection of an unknown type")
    with t.refused(400, "Bad Request", "{'conn_type': ['Missing data for required field.']}"):
        ask("untyped")
