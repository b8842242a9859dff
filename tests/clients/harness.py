"""What the steps stand on: the official client, runs to look at, checks, and the runner that reports."""

import argparse
import contextlib
import datetime
import importlib
import inspect
import json
import random
import time
import traceback

import airflow_client.client as client
from airflow_client.client import models
from airflow_client.client.exceptions import ApiTypeError, ApiValueError

UTC = datetime.timezone.utc
ENDED = ("success", "failed")

# The client's API classes, and what the steps call them; those that a version lacks are left out.
APIS = {
    "config": "config_api.ConfigApi",
    "connections": "connection_api.ConnectionApi",
    "dag_stats": "dag_stats_api.DagStatsApi",
    "dag_warnings": "dag_warning_api.DagWarningApi",
    "dags": "dag_api.DAGApi",
    "datasets": "dataset_api.DatasetApi",
    "events": "event_log_api.EventLogApi",
    "import_errors": "import_error_api.ImportErrorApi",
    "monitoring": "monitoring_api.MonitoringApi",
    "permissions": "permission_api.PermissionApi",
    "plugins": "plugin_api.PluginApi",
    "pools": "pool_api.PoolApi",
    "providers": "provider_api.ProviderApi",
    "roles": "role_api.RoleApi",
    "runs": "dag_run_api.DAGRunApi",
    "tis": "task_instance_api.TaskInstanceApi",
    "users": "user_api.UserApi",
    "variables": "variable_api.VariableApi",
    "xcoms": "x_com_api.XComApi",
}

STEPS = []


def step(name, since=None, mapping=False):
    """Registers a step; `since` names the first client that has its methods, `mapping` marks those that need mapped tasks to run."""

    def register(function):
        STEPS.append((name, function, since, mapping))
        return function

    return register


class Failure(AssertionError):
    """A check that did not hold."""


class Api:
    """One of the client's API classes: notes which methods were called, and never waits for ever."""

    def __init__(self, api, called):
        self._api, self._called = api, called

    def __getattr__(self, name):
        method = getattr(self._api, name)

        def call(*args, **kwargs):
            self._called.add(name)
            kwargs.setdefault("_request_timeout", 60)
            return method(*args, **kwargs)

        return call

    def methods(self):
        return {n for n, _ in inspect.getmembers(type(self._api), inspect.isfunction) if not n.startswith("_")}


class Target:
    """The server under test, seen through one version of the client."""

    def __init__(self, args, version):
        self.version = version
        self.patience = args.patience
        self.user = args.user
        self._url = args.url.rstrip("/")
        self.called = set()
        self._apis = self.apis_of(args.user, args.password)
        for name, api in self._apis.items():
            setattr(self, name, api)
        self.stranger = self.apis_of(args.user, args.password + "x")["dags"]
        # Ids and dates that no other start of the script uses: it may be repeated against one server.
        self.tag = "c%s_%06x" % (version.replace(".", ""), random.randrange(1 << 24))
        self.first_date = datetime.datetime(2024, 6, 1, tzinfo=UTC) + datetime.timedelta(minutes=random.randrange(300_000))
        self._dates = 0
        self._runs = {}

    def apis_of(self, user, password):
        """The client's API classes, with the credentials of a user."""
        api = client.ApiClient(client.Configuration(host=self._url, username=user, password=password))
        apis = {}
        for name, place in APIS.items():
            module, _, kind = place.partition(".")
            with contextlib.suppress(ModuleNotFoundError):
                module = importlib.import_module("airflow_client.client.api." + module)
                apis[name] = Api(getattr(module, kind)(api), self.called)
        return apis

    def methods(self):
        return set().union(*(api.methods() for api in self._apis.values()))

    def id(self, name):
        return "%s_%s" % (self.tag, name)

    def date(self):
        """A logical date of its own, each a second after the one before."""
        self._dates += 1
        return self.first_date + datetime.timedelta(seconds=self._dates)

    def trigger(self, dag_id, name=None, **fields):
        """Creates a run and gives its answer as plain data."""
        fields.setdefault("logical_date", self.date())
        body = models.DAGRun(dag_run_id=self.id(name or dag_id), **fields)
        return plain(self.runs.post_dag_run(dag_id, body))

    def started(self, dag_id):
        """The one run of a DAG that several steps look at, created at the first use."""
        if dag_id not in self._runs:
            try:
                self._runs[dag_id] = self.trigger(dag_id, conf={"from": self.tag})
            except Exception as problem:
                self._runs[dag_id] = problem
        if isinstance(self._runs[dag_id], Exception):
            raise Failure("the run of %s could not be created: %s" % (dag_id, brief(self._runs[dag_id])))
        return self._runs[dag_id]

    def finished(self, dag_id, state="success"):
        """That run when it has ended; its end must be `state`."""
        run = self.ended(dag_id, self.started(dag_id)["dag_run_id"])
        equal(run["state"], state, "state of the run of %s" % dag_id)
        return run

    def ended(self, dag_id, run_id):
        return self.wait("the end of %s %s" % (dag_id, run_id), lambda: self.run(dag_id, run_id), lambda run: run["state"] in ENDED)

    def run(self, dag_id, run_id):
        return plain(self.runs.get_dag_run(dag_id, run_id))

    def ti(self, dag_id, run_id, task_id):
        return self.lenient(self.tis.get_task_instance, dag_id, run_id, task_id)

    def ti_list(self, dag_id, run_id, **filters):
        return self.lenient(self.tis.get_task_instances, dag_id, run_id, **filters)

    def lenient(self, method, *args, **kwargs):
        """A call whose answer the client refuses for a null that its generated types lost: then, and only then, the answer
        is taken unchecked."""
        try:
            return plain(method(*args, **kwargs))
        except (ApiTypeError, ApiValueError) as problem:
            if "NoneType" not in str(problem) or not any(name in str(problem) for name in LOST_NULLS[self.version]):
                raise
            return plain(method(*args, _check_return_type=False, **kwargs))

    def wait(self, what, look, good):
        """Looks until it is good, and fails with the last look when patience ends."""
        deadline = time.monotonic() + self.patience
        while True:
            seen = look()
            if good(seen):
                return seen
            if time.monotonic() > deadline:
                raise Failure("waited %d s for %s; last seen: %s" % (self.patience, what, brief(seen)))
            time.sleep(0.2)

    @contextlib.contextmanager
    def unknown(self):
        """The call inside must be refused for its credentials; Airflow answers 403 where callers without any have a role."""
        try:
            yield
        except client.ApiException as problem:
            check(problem.status in (401, 403), "status %s is 401 or 403" % problem.status)
            equal(problem.headers.get("content-type"), "application/problem+json", "content type of the refusal")
            return
        raise Failure("was accepted, and should be refused for its credentials")

    @contextlib.contextmanager
    def refused(self, status, title=None, detail=None):
        """The call inside must be answered by a problem of that status (and title, and detail)."""
        try:
            yield
        except client.ApiException as problem:
            body = problem.body.decode() if isinstance(problem.body, bytes) else problem.body
            equal(problem.status, status, "status of the refusal (%s)" % body)
            equal(problem.headers.get("content-type", "").split(";")[0], "application/problem+json", "content type of the refusal")
            body = json.loads(body)
            equal(set(body), {"detail", "status", "title", "type"}, "members of the problem")
            equal(body["status"], status, "status in the problem")
            check(body["type"], "the problem has a type")
            if title is not None:
                equal(body["title"], title, "title of the problem")
            if detail is not None:
                equal(body["detail"], detail, "detail of the problem")
            return
        raise Failure("was accepted, and should be refused with %d" % status)


# Where real answers have a null that the client's types do not allow: `nullable` beside a $ref was lost by the generator of
# 2.2.0, and the unset units of a relativedelta schedule by that of both.
LOST_NULLS = {
    "2.2.0": ("sla_miss", "execution_timeout", "dag_run_timeout", "['schedule_interval']"),
    "2.10.0": ("['schedule_interval']",),
}


def plain(value):
    """A model of the client as dicts, lists and scalars."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if hasattr(value, "_data_store"):
        fields = {}
        for part in [*(getattr(value, "_composed_instances", None) or []), value]:
            fields.update(part._data_store)
        if set(fields) == {"value"} and not getattr(value, "_composed_instances", None) and "type" not in value.attribute_map:
            return plain(fields["value"])
        return {k: plain(v) for k, v in fields.items()}
    return value


def when(value):
    """A date of an answer, which the client gives as text or as datetime; it always carries an offset."""
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    check(isinstance(value, datetime.datetime) and value.tzinfo is not None, "%r is a date with an offset" % (value,))
    return value


def check(holds, what):
    if not holds:
        raise Failure("does not hold: " + what)


def equal(seen, expected, what):
    if seen != expected:
        raise Failure("%s: expected %s, got %s" % (what, brief(expected), brief(seen)))


def subset(seen, expected, what):
    """Each field of `expected` is in `seen` with that value."""
    for key, value in expected.items():
        check(key in seen, "%s has the field %s" % (what, key))
        equal(seen[key], value, "%s: %s" % (what, key))


def brief(value):
    text = str(value) if isinstance(value, Exception) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 600 else text[:600] + "…"


def main(version):
    """Runs all steps against the server named on the command line."""
    parser = argparse.ArgumentParser(description="Drives every method of Airflow's official client %s." % version)
    parser.add_argument("--url", required=True, help="base of the API, for instance http://127.0.0.1:8080/api/v1")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", default="admin")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a state")
    parser.add_argument("--no-mapping", action="store_true", help="the server does not run mapped tasks: skip what needs them")
    parser.add_argument("--only", default="", help="run the steps whose name contains this")
    args = parser.parse_args()

    target = Target(args, version)
    chosen = [s for s in STEPS if args.only in s[0]]
    if not args.only:
        # Started early, so that they run while other steps look at something else.
        for dag_id in EARLY:
            with contextlib.suppress(Failure):
                target.started(dag_id)
    passed = failed = skipped = 0
    for name, function, since, mapping in chosen:
        if since and version != since:
            continue
        if mapping and args.no_mapping:
            print("skip %s: mapped tasks" % name, flush=True)
            skipped += 1
            continue
        begin = time.monotonic()
        try:
            function(target)
        except Failure as problem:
            verdict = brief(problem)
        except Exception as problem:
            frame = traceback.extract_tb(problem.__traceback__)
            place = [f for f in frame if "/steps/" in f.filename][-1:] or frame[-1:]
            verdict = "%s at %s:%d: %s" % (type(problem).__name__, place[0].filename.rsplit("/", 1)[-1], place[0].lineno, brief(problem))
        else:
            passed += 1
            print("ok   %s (%.1f s)" % (name, time.monotonic() - begin), flush=True)
            continue
        failed += 1
        print("FAIL %s (%.1f s): %s" % (name, time.monotonic() - begin, verdict), flush=True)
    if not args.only:
        missed = sorted(target.methods() - target.called)
        if missed:
            failed += 1
            print("FAIL every method of the client is called: not called are %s" % ", ".join(missed))
        else:
            passed += 1
            print("ok   every method of the client is called (%d)" % len(target.called))
    print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % skipped if skipped else ""), flush=True)
    return 1 if failed or not passed else 0


# DAGs whose run several steps look at.
EARLY = ["etl_chain", "always_fails", "retries", "xcom", "branching", "params", "never_unpaused"]
