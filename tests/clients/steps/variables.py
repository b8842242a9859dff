"""Variables."""

import contextlib

import airflow_client.client as client
from airflow_client.client import models

from harness import check, equal, plain, step, subset


@contextlib.contextmanager
def variable(t, name, value):
    """A variable of that key while the block lasts."""
    key = t.id(name)
    yield key, plain(t.variables.post_variables(models.Variable(key=key, value=value)))
    with contextlib.suppress(client.ApiException):
        t.variables.delete_variable(key)


def keys(answer):
    return [v["key"] for v in answer["variables"]]


@step("variables post, get, delete: posting again writes over")
def post(t):
    with variable(t, "new", "one") as (key, seen):
        subset(seen, {"key": key, "value": "one"}, "the new variable")
        subset(plain(t.variables.get_variable(key)), {"key": key, "value": "one"}, "the variable read again")
        subset(plain(t.variables.post_variables(models.Variable(key=key, value="two"))), {"key": key, "value": "two"}, "posted again")
        equal(plain(t.variables.get_variable(key))["value"], "two", "the value afterwards")
        equal(t.variables.delete_variable(key), None, "answer to the delete")
        with t.refused(404, "Variable not found", "Variable does not exist"):
            t.variables.get_variable(key)
        with t.refused(404, "Variable not found"):
            t.variables.delete_variable(key)
    with t.refused(400, "Invalid Variable schema", "{'value': ['Missing data for required field.']}"):
        t.variables.post_variables(models.Variable(key=t.id("empty")))
    with t.refused(400, "Invalid Variable schema", "{'key': ['Missing data for required field.']}"):
        t.variables.post_variables(models.Variable(value="x"))


@step("variables get: any text as key and value")
def texts(t):
    with variable(t, "a/b c é%25", '{"a": [1, "ü"]}\n') as (key, _):
        subset(plain(t.variables.get_variable(key)), {"key": key, "value": '{"a": [1, "ü"]}\n'}, "the variable")
    with variable(t, "api_key", "secret") as (key, _):
        equal(plain(t.variables.get_variable(key))["value"], "secret", "values are not hidden")
    with variable(t, "blank", "") as (key, _):
        equal(plain(t.variables.get_variable(key))["value"], "", "the empty value")


@step("variables list: order and pages")
def listing(t):
    with variable(t, "list_a", "1") as (a, _), variable(t, "list_b", "2") as (b, _):
        whole = plain(t.variables.get_variables(limit=100))
        check({a, b} <= set(keys(whole)), "both are listed: %s" % keys(whole))
        equal(whole["total_entries"], len(keys(whole)), "total_entries")
        by_key = keys(plain(t.variables.get_variables(order_by="key", limit=100)))
        equal(by_key.index(b), by_key.index(a) + 1, "neighbours by key")
        back = plain(t.variables.get_variables(order_by="-key", limit=1, offset=len(by_key) - 1 - by_key.index(a)))
        equal((keys(back), back["total_entries"]), ([a], len(by_key)), "a page of one from the end")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.variables.get_variables(order_by="nope")


@step("variables patch: whole, and what it refuses")
def patch(t):
    with variable(t, "patched", "1") as (key, _):
        subset(plain(t.variables.patch_variable(key, models.Variable(key=key, value="2"))), {"key": key, "value": "2"}, "patched")
        equal(plain(t.variables.get_variable(key))["value"], "2", "the value afterwards")
        with t.refused(400, "Invalid post body", "key from request body doesn't match uri parameter"):
            t.variables.patch_variable(key, models.Variable(key=key + "x", value="3"))
        for mask in ("nope", "key", "value"):
            with t.refused(400, "Bad Request", "'%s' is unknown or cannot be updated." % mask):
                t.variables.patch_variable(key, models.Variable(key=key, value="3"), update_mask=[mask])
    with t.refused(404, "Variable not found", "Variable does not exist"):
        t.variables.patch_variable("nope", models.Variable(key="nope", value="1"))


@step("variables: description, by mask too", since="2.10.0")
def description(t):
    key = t.id("described")
    seen = plain(t.variables.post_variables(models.Variable(key=key, value="v", description="of the client")))
    subset(seen, {"key": key, "value": "v", "description": "of the client"}, "the described variable")
    masked = models.Variable(key=key, value="ignored", description="changed")
    seen = plain(t.variables.patch_variable(key, masked, update_mask=["description"]))
    subset(seen, {"value": "v", "description": "changed"}, "patched by mask")
    equal(plain(t.variables.get_variable(key)), {"key": key, "value": "v", "description": "changed"}, "the variable read again")
    t.variables.delete_variable(key)
