"""Pools."""

import contextlib

import airflow_client.client as client
from airflow_client.client import models

from harness import check, equal, plain, step, subset


@contextlib.contextmanager
def pool(t, name, **fields):
    """A pool of that name while the block lasts."""
    name = t.id(name)
    yield name, plain(t.pools.post_pool(models.Pool(name=name, **fields)))
    with contextlib.suppress(client.ApiException):
        t.pools.delete_pool(name)


def names(answer):
    return [p["name"] for p in answer["pools"]]


@step("pools post, get, delete")
def post(t):
    with pool(t, "small", slots=3) as (name, seen):
        subset(seen, {"name": name, "slots": 3, "open_slots": 3, "occupied_slots": 0, "queued_slots": 0}, "the new pool")
        equal(plain(t.pools.get_pool(name)), seen, "the pool read again")
        with t.refused(409, "Conflict", "Pool: %s already exists" % name):
            t.pools.post_pool(models.Pool(name=name, slots=1))
        equal(t.pools.delete_pool(name), None, "answer to the delete")
        with t.refused(404, "Not Found", "Pool with name:'%s' not found" % name):
            t.pools.get_pool(name)
        with t.refused(404, "Not Found", "Pool with name:'%s' not found" % name):
            t.pools.delete_pool(name)
    with t.refused(400, "Bad Request"):
        t.pools.post_pool(models.Pool(name=t.id("no_slots")))


@step("pools post: description and deferred tasks", since="2.10.0")
def post_newer(t):
    with pool(t, "described", slots=1, description="of the client", include_deferred=True) as (_, seen):
        subset(
            seen,
            {"description": "of the client", "include_deferred": True, "deferred_slots": 0, "running_slots": 0, "scheduled_slots": 0},
            "the described pool",
        )
    with pool(t, "bare", slots=1) as (_, seen):
        subset(seen, {"description": None, "include_deferred": False}, "the bare pool")


@step("pools list: default_pool, order, pages")
def listing(t):
    with pool(t, "list_a", slots=100_001) as (a, _), pool(t, "list_b", slots=100_002) as (b, _):
        whole = plain(t.pools.get_pools(limit=100))
        check({"default_pool", a, b} <= set(names(whole)), "all pools are listed: %s" % names(whole))
        equal(whole["total_entries"], len(whole["pools"]), "total_entries")
        equal(names(plain(t.pools.get_pools(order_by="-slots", limit=2))), [b, a], "the two largest")
        equal(names(plain(t.pools.get_pools(order_by="-slots", limit=1, offset=1))), [a], "the second largest")
        by_name = names(plain(t.pools.get_pools(order_by="name", limit=100)))
        equal(by_name.index(b), by_name.index(a) + 1, "neighbours by name")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.pools.get_pools(order_by="nope")


@step("pools patch: whole, masked, renamed, unknown")
def patch(t):
    with pool(t, "patched", slots=3) as (name, _):
        subset(plain(t.pools.patch_pool(name, models.Pool(name=name, slots=4))), {"slots": 4, "open_slots": 4}, "patched")
        subset(plain(t.pools.patch_pool(name, models.Pool(slots=6), update_mask=["slots"])), {"name": name, "slots": 6}, "patched by mask")
        equal(plain(t.pools.get_pool(name))["slots"], 6, "slots afterwards")
        with t.refused(400, "Bad Request", "Missing required property(ies): ['name']"):
            t.pools.patch_pool(name, models.Pool(slots=5))
        with t.refused(400, "Bad Request", "Invalid field: nope in update mask"):
            t.pools.patch_pool(name, models.Pool(slots=5), update_mask=["nope"])
        renamed = plain(t.pools.patch_pool(name, models.Pool(name=name + "_new", slots=2)))
        subset(renamed, {"name": name + "_new", "slots": 2}, "renamed")
        with t.refused(404, "Not Found", "Pool with name:'%s' not found" % name):
            t.pools.get_pool(name)
        t.pools.delete_pool(name + "_new")
    with t.refused(404, "Not Found", "Pool with name:'nope' not found"):
        t.pools.patch_pool("nope", models.Pool(name="nope", slots=1))


@step("pools: default_pool stays")
def default(t):
    seen = plain(t.pools.get_pool("default_pool"))
    equal(seen["slots"], 128, "slots of default_pool")
    with t.refused(400, "Bad Request", "Default Pool can't be deleted"):
        t.pools.delete_pool("default_pool")
    with t.refused(400, "Bad Request", "Default Pool's name can't be modified"):
        t.pools.patch_pool("default_pool", models.Pool(name="other", slots=128))
    seen = plain(t.pools.patch_pool("default_pool", models.Pool(slots=128), update_mask=["slots"]))
    subset(seen, {"name": "default_pool", "slots": 128}, "default_pool patched by mask")
