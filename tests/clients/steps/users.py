"""Users, and what those of a role may do."""

import contextlib

import airflow_client.client as client
from airflow_client.client import models

from harness import check, equal, plain, step, subset


def fields(t, login, *roles, **changes):
    names = {"first_name": "First", "last_name": "Last", "email": "%s@example.com" % login, "password": "pw"}
    roles = [models.UserCollectionItemRoles(name=role) for role in roles]
    return models.User(username=login, roles=roles, **{**names, **changes})


@contextlib.contextmanager
def user(t, name, *roles):
    """A user of that name while the block lasts; their password is pw."""
    login = t.id(name)
    yield login, plain(t.users.post_user(fields(t, login, *roles)))
    with contextlib.suppress(client.ApiException):
        t.users.delete_user(login)


def role_names(seen):
    return sorted(r["name"] for r in seen["roles"])


@step("users post, get, delete: the password does not come back")
def post(t):
    with user(t, "new", "Viewer") as (login, seen):
        expected = {"username": login, "first_name": "First", "last_name": "Last", "email": "%s@example.com" % login}
        subset(seen, expected, "the new user")
        equal(role_names(seen), ["Viewer"], "roles of the new user")
        again = plain(t.users.get_user(login))
        subset(again, {**expected, "active": True, "login_count": None, "last_login": None}, "the user read again")
        check("password" not in seen and "password" not in again, "the password is not shown")
        with t.refused(409, "Conflict", "Username `%s` already exists. Use PATCH to update." % login):
            t.users.post_user(fields(t, login, "Viewer"))
        with t.refused(409, "Conflict", "The email `%s@example.com` is already taken." % login):
            t.users.post_user(fields(t, login + "x", "Viewer", email="%s@example.com" % login))
        equal(t.users.delete_user(login), None, "answer to the delete")
        gone = "The User with username `%s` was not found" % login
        with t.refused(404, "User not found", gone):
            t.users.get_user(login)
        with t.refused(404, "User not found", gone):
            t.users.delete_user(login)


@step("users post: what it refuses")
def post_refused(t):
    with t.refused(400, "Bad Request", "Unknown roles: 'Nope'"):
        t.users.post_user(fields(t, t.id("roleless"), "Nope"))
    with t.refused(400, "Bad Request"):
        t.users.post_user(models.User(username=t.id("nameless")))


@step("users list: pages")
def listing(t):
    with user(t, "list_a", "Viewer") as (a, _), user(t, "list_b", "Op") as (b, _):
        whole = plain(t.users.get_users(limit=100))
        names = [u["username"] for u in whole["users"]]
        check({t.user, a, b} <= set(names), "all are listed: %s" % names)
        equal(whole["total_entries"], len(names), "total_entries")
        page = plain(t.users.get_users(limit=2, offset=1))
        equal([u["username"] for u in page["users"]], names[1:3], "a page of two")
        by_email = [u["email"] for u in plain(t.users.get_users(limit=100, order_by="email"))["users"]]
        equal(by_email, sorted(by_email), "order by email")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.users.get_users(order_by="nope")


@step("users patch: whole, masked, roles, unknown")
def patch(t):
    # The older client takes the answer for a role.
    lenient = {"_check_return_type": False}
    with user(t, "patched", "Viewer") as (login, _):
        seen = plain(t.users.patch_user(login, fields(t, login, "Op", first_name="New"), **lenient))
        subset(seen, {"username": login, "first_name": "New"}, "patched")
        equal(role_names(seen), ["Op"], "roles afterwards")
        changes = fields(t, login, "User", first_name="Ignored", last_name="Masked")
        seen = plain(t.users.patch_user(login, changes, update_mask=["last_name"], **lenient))
        subset(seen, {"first_name": "New", "last_name": "Masked"}, "patched by mask")
        equal(role_names(plain(t.users.get_user(login))), ["Op"], "roles stay")
        with t.refused(400, "Bad Request", "Unknown update masks: 'nope'"):
            t.users.patch_user(login, changes, update_mask=["nope"])
        with t.refused(400, "Bad Request", "Unknown roles: 'Nope'"):
            t.users.patch_user(login, fields(t, login, "Nope"))
    with t.refused(404, "User not found", "The User with username `nope` was not found"):
        t.users.patch_user("nope", fields(t, "nope", "Op"))


@step("users: what a viewer may do, with the new password, and counts of logins")
def viewer(t):
    with user(t, "viewer", "Viewer") as (login, _):
        theirs = t.apis_of(login, "pw")
        check(plain(theirs["pools"].get_pools())["pools"], "pools are shown")
        with t.refused(403, "Forbidden"):
            theirs["pools"].post_pool(models.Pool(name=t.id("of_viewer"), slots=1))
        with t.refused(403, "Forbidden"):
            theirs["users"].get_users()
        with t.refused(403, "Forbidden"):
            theirs["connections"].get_connections()
        seen = plain(t.users.get_user(login))
        check(seen["login_count"] > 0 and seen["last_login"], "logins are counted: %s" % seen)
        t.users.patch_user(login, fields(t, login, "Viewer", password="changed"), update_mask=["password"], _check_return_type=False)
        check(plain(t.apis_of(login, "changed")["pools"].get_pools())["pools"], "the new password holds")
        with t.unknown():
            t.apis_of(login, "pw")["pools"].get_pools()
