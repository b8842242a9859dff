"""Roles, and the permissions that they are made of."""

import contextlib

import airflow_client.client as client
from airflow_client.client import models

from harness import check, equal, plain, step


def actions(*pairs):
    return [models.ActionResource(action=models.Action(name=a), resource=models.Resource(name=r)) for a, r in pairs]


def pairs(role):
    return sorted((a["action"]["name"], a["resource"]["name"]) for a in role["actions"])


@contextlib.contextmanager
def role(t, name, *permissions):
    """A role of that name while the block lasts."""
    name = t.id(name)
    t.roles.post_role(models.Role(name=name, actions=actions(*permissions)))
    yield name
    with contextlib.suppress(client.ApiException):
        t.roles.delete_role(name)


@step("permissions list: the actions, pages")
def permissions(t):
    seen = plain(t.permissions.get_permissions(limit=100))
    names = [a["name"] for a in seen["actions"]]
    equal(sorted(names), ["can_create", "can_delete", "can_edit", "can_read", "menu_access"], "actions")
    equal(seen["total_entries"], 5, "total_entries")
    page = plain(t.permissions.get_permissions(limit=2, offset=1))
    equal([a["name"] for a in page["actions"]], names[1:3], "a page of two")


@step("roles post, get, delete")
def post(t):
    with role(t, "own", ("can_read", "DAGs"), ("can_edit", "Pools")) as name:
        seen = plain(t.roles.get_role(name))
        equal((seen["name"], pairs(seen)), (name, [("can_edit", "Pools"), ("can_read", "DAGs")]), "the role read again")
        with t.refused(409, "Conflict", "Role with name '%s' already exists; please update with the PATCH endpoint" % name):
            t.roles.post_role(models.Role(name=name, actions=[]))
        equal(t.roles.delete_role(name), None, "answer to the delete")
        gone = "Role with name '%s' was not found" % name
        with t.refused(404, "Role not found", gone):
            t.roles.get_role(name)
        with t.refused(404, "Role not found", gone):
            t.roles.delete_role(name)


@step("roles post: what it refuses")
def post_refused(t):
    with t.refused(400, "Bad Request", "The specified action: 'can_fly' was not found"):
        t.roles.post_role(models.Role(name=t.id("action"), actions=actions(("can_fly", "DAGs"))))
    with t.refused(400, "Bad Request", "The specified resource: 'Nope' was not found"):
        t.roles.post_role(models.Role(name=t.id("resource"), actions=actions(("can_read", "Nope"))))
    with t.refused(400, "Bad Request", "{'name': ['Missing data for required field.']}"):
        t.roles.post_role(models.Role(actions=[]))


@step("roles list: the usual ones, by name, pages")
def listing(t):
    seen = plain(t.roles.get_roles(limit=100))
    names = [r["name"] for r in seen["roles"]]
    check({"Admin", "Op", "User", "Viewer", "Public"} <= set(names), "the usual roles are there: %s" % names)
    equal(names, sorted(names), "order by name")
    equal(seen["total_entries"], len(names), "total_entries")
    page = plain(t.roles.get_roles(limit=2, offset=1, order_by="name"))
    equal([r["name"] for r in page["roles"]], names[1:3], "a page of two")
    viewer = pairs(plain(t.roles.get_role("Viewer")))
    check(("can_read", "DAGs") in viewer and ("can_edit", "DAGs") not in viewer, "a viewer reads DAGs: %s" % viewer)
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.roles.get_roles(order_by="nope")


@step("roles patch: permissions are added, the name changes, unknown ones")
def patch(t):
    with role(t, "patched", ("can_read", "DAGs")) as name:
        more = models.Role(name=name, actions=actions(("can_edit", "DAGs")))
        equal(pairs(plain(t.roles.patch_role(name, more))), [("can_edit", "DAGs"), ("can_read", "DAGs")], "permissions")
        with t.refused(400, "Bad Request", "'nope' in update_mask is unknown"):
            t.roles.patch_role(name, more, update_mask=["nope"])
        masked = models.Role(name=name + "_new", actions=actions(("can_delete", "DAGs")))
        renamed = plain(t.roles.patch_role(name, masked, update_mask=["name"]))
        equal((renamed["name"], pairs(renamed)), (name + "_new", [("can_edit", "DAGs"), ("can_read", "DAGs")]), "renamed by mask")
        with t.refused(404, "Role not found", "Role with name '%s' was not found" % name):
            t.roles.get_role(name)
        t.roles.delete_role(name + "_new")
    with t.refused(404, "Role not found", "Role with name 'nope' was not found"):
        t.roles.patch_role("nope", models.Role(name="nope", actions=[]))


@step("roles: what a role of one's own permits")
def permits(t):
    from steps.users import user

    with role(t, "pools_only", ("can_read", "Pools")) as name, user(t, "pooler", name) as (login, _):
        theirs = t.apis_of(login, "pw")
        check(plain(theirs["pools"].get_pools())["pools"], "pools are shown")
        with t.refused(403, "Forbidden"):
            theirs["pools"].delete_pool("nope")
        with t.refused(403, "Forbidden"):
            theirs["variables"].get_variables()
        t.roles.patch_role(name, models.Role(name=name, actions=actions(("can_read", "Variables"))))
        check("variables" in plain(theirs["variables"].get_variables()), "variables are shown, once permitted")
