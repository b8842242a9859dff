"""Replays recorded requests of a real Airflow 2.11.2 against a server and prints where its answers differ.

The recordings (INDEX.tsv and a JSON file each) depend on each other, so they are sent in their order, to a server that was
just started with the recorded DAGs and one broken file. Compared are status, headers and body; times, ids, hosts and what else
is the server's own is replaced first. Differences that are wanted stand in accepted.tsv with their reason."""

import argparse
import base64
import datetime
import fnmatch
import http.client
import json
import os
import re
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
UTC = datetime.timezone.utc

# Recordings that are left out.
SKIPPED = [
    ("monitor.root_health", "outside of the API"),
    ("errors.404_outside_api", "outside of the API"),
    ("users.fab.*", "outside of the API: Airflow's user manager serves users once more at a path of its own"),
    ("scheduled.*", "needs schedules"),
    ("datasets.events.list*", "needs outlets"),
    ("datasets.triggered_run*", "needs outlets"),
]
# Users that the requests of other roles come from; the first is made by a recorded request.
PASSWORD = "pw"
USERS = {"rec_user": "User", "rec_op": "Op", "rec_public": "Public"}
# Answers whose order Airflow does not define.
UNORDERED = ["ti.list*", "ti.batch*", "ti.clear*", "ti.set_state*", "live.tis*", "runs.clear*", "ti.dependencies*", "*.dependencies*", "exp.pools", "exp.latest_runs", "access.*.experimental_pools"]
DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")
OWN = {"file_token": "token", "continuation_token": "token", "unixname": "name", "hostname": "host", "stack_trace": "text"}
NUMBERS = {"id", "pid", "duration", "import_error_id", "event_log_id", "login_count", "job_id", "queued_by_job_id"}
HEADERS = (
    "content-type", "cache-control", "x-robots-tag", "allow", "location", "www-authenticate", "deprecation", "link", "set-cookie",
)  # fmt: skip
FINAL = ("success", "failed")
# Where an object of Python was.
ADDRESS = re.compile(r" at 0x[0-9a-f]+(?=>)")
# When the recorded run of dataset_producer was triggered.
PRODUCED = "2026-11-21T13%3A07%3A59.740008%2B00%3A00"
# They create runs at the second of now, of which a DAG has one.
OF_NOW = ["exp.trigger", "exp.trigger.text_plain_body"]


def basic(user, password):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


class Server:
    """The server under test, asked without any help that a client library would give."""

    def __init__(self, url, user, password):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 80
        self.basic = basic(user, password)

    def send(self, method, path, body=None, auth="admin", headers=None):
        headers = dict(headers or {})
        if auth == "admin":
            headers["Authorization"] = self.basic
        elif auth and auth.startswith("rec_"):
            headers["Authorization"] = basic(auth, PASSWORD)
        elif auth:
            headers["Authorization"] = auth.removeprefix("raw: ")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.putrequest(method, path, skip_accept_encoding=True)
        if body is not None:
            headers["Content-Length"] = str(len(body))
        elif method in ("POST", "PATCH", "PUT"):
            headers["Content-Length"] = "0"
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, text

    def ask(self, method, path, body=None):
        """A request of the preparation: the parsed answer, or None where it was refused."""
        data = None if body is None else json.dumps(body).encode()
        status, _, text = self.send(method, "/api/v1" + path, data, headers={"Content-Type": "application/json"} if data else None)
        return json.loads(text) if status < 300 and text else None


class Preparation:
    """What was done between the recorded requests, by the name of the request before which it is due."""

    def __init__(self, server, patience):
        self.server, self.patience = server, patience
        self.paused = {}

    def start(self):
        if not self.server.ask("GET", "/pools/lab_pool"):
            self.server.ask("POST", "/pools", {"name": "lab_pool", "slots": 2, "description": "two slots, for the pools_priority fixture"})
        dags = self.server.ask("GET", "/dags?limit=100")["dags"]
        self.paused = {d["dag_id"]: d["is_paused"] for d in dags}
        return self.paused

    def before(self, name):
        if name == "finished.run":
            self.wake()
            self.trigger("etl_chain", "rec_1", logical_date="2024-02-01T00:00:00Z", conf={"k": "v"}, note="recorded")
            others = ["mapped", "xcom", "always_fails", "branching", "retries", "dataset_producer"]
            others = [d for d in others if d in self.paused and self.trigger(d, "rec_1")]
            for dag_id in ["etl_chain", *others]:
                self.end(dag_id)
        elif name == "ti.clear.real":
            # So that the cleared task does not run before it was looked at.
            self.pause("etl_chain", True)
        elif name == "ti.clear.ti_rerun":
            self.pause("etl_chain", False)
            self.end("etl_chain")
        elif name == "live.run":
            self.trigger("long_sleep", "rec_live")
            self.wait(lambda: self.instance("long_sleep", "rec_live", "sleep"), lambda i: i["state"] == "running")
        elif name == "live.tis_after_failed_8s":
            self.wait(lambda: self.instance("long_sleep", "rec_live", "sleep"), lambda i: i["state"] == "failed" and i["end_date"])
        elif name in ("datasets.queued.delete_dag", "datasets.queued.delete_uri"):
            self.server.ask("POST", "/datasets/events", {"dataset_uri": "s3://lab/two.csv"})
        elif name == "config.json":
            # Where it was deleted after all.
            self.server.ask("POST", "/pools", {"name": "rec_zero", "slots": 0})
        elif name in OF_NOW:
            time.sleep(1.01 - time.time() % 1)
        elif name == "pools.list":
            # What was marked may still be about to end.
            self.wait(lambda: self.server.ask("GET", "/pools/default_pool"), lambda pool: not pool["occupied_slots"])

    def after(self, name):
        if name == "dags.patch_many.empty_pattern":
            self.wake()
        elif name == "runs.post.cron_dag_infers_interval":
            self.server.ask("DELETE", "/dags/cron_catchup/dagRuns/rec_cron")
        elif name == "users.post":
            for user, role in USERS.items():
                fields = {"first_name": "F", "last_name": "L", "email": "%s@example.com" % user, "roles": [{"name": role}]}
                self.server.ask("POST", "/users", {"username": user, "password": PASSWORD, **fields})

    def wake(self):
        """Gives each DAG the pause state that it had at the start."""
        for dag_id, paused in self.paused.items():
            self.pause(dag_id, paused)

    def pause(self, dag_id, paused):
        self.server.ask("PATCH", "/dags/%s" % dag_id, {"is_paused": bool(paused)})

    def trigger(self, dag_id, run_id, **fields):
        return self.server.ask("POST", "/dags/%s/dagRuns" % dag_id, {"dag_run_id": run_id, **fields})

    def end(self, dag_id):
        """Waits for the end of the DAG's run rec_1."""
        self.wait(lambda: self.server.ask("GET", "/dags/%s/dagRuns/rec_1" % dag_id), lambda run: run["state"] in FINAL)

    def instance(self, dag_id, run_id, task_id):
        return self.server.ask("GET", "/dags/%s/dagRuns/%s/taskInstances/%s" % (dag_id, run_id, task_id))

    def wait(self, look, good):
        seen, deadline = None, time.monotonic() + self.patience
        while time.monotonic() < deadline:
            seen = look()
            if seen and good(seen):
                return
            time.sleep(0.2)
        print("prepare: waited in vain, last seen %s" % short(seen))


def recent(text, around, span):
    """Replaces dates near a moment: they tell when something was done, not what."""

    def replace(match):
        form = match.group(0).replace(",", ".").replace("Z", "+00:00")
        try:
            date = datetime.datetime.fromisoformat(form)
        except ValueError:
            return match.group(0)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return "<recent>" if abs(date - around) < span else match.group(0)

    return DATE.sub(replace, text)


def neutral(value, around, path=(), unordered=False):
    """The value without what is each server's own."""
    span = datetime.timedelta(days=7)
    key = path[-1] if path else None
    if isinstance(value, dict):
        value = {k: neutral(v, around, (*path, k), unordered) for k, v in value.items()}
        if isinstance(value.get("tags"), list):
            value["tags"] = sorted(value["tags"], key=json.dumps)
        # Airflow keeps owners and edges in Python sets, whose order changes from start to start.
        if isinstance(value.get("owners"), list):
            value["owners"] = sorted(str(o).strip() for o in value["owners"])
        if isinstance(value.get("downstream_task_ids"), list):
            value["downstream_task_ids"].sort()
        # Nor does the database say in which order it gives what belongs to one entry.
        for name in ("actions", "consuming_dags", "producing_tasks"):
            if isinstance(value.get(name), list) and len(path) > 0:
                value[name].sort(key=lambda v: json.dumps(v, sort_keys=True))
        items, total = value.get("task_instances"), value.get("total_entries")
        if unordered and isinstance(items, list) and isinstance(total, int) and 0 < len(items) < total:
            # Which ones are on a page of a list without order is not defined: only their number and members are compared.
            value["task_instances"] = [sorted(i) for i in items]
        return value
    if isinstance(value, list):
        value = [neutral(v, around, path, unordered) for v in value]
        free = unordered and key in (None, "task_instances", "dependencies", "items")
        return sorted(value, key=lambda v: json.dumps(v, sort_keys=True)) if free else value
    if isinstance(value, str):
        if key in OWN and value:
            return "<%s>" % OWN[key]
        if key == "dag_run_url":
            value = urllib.parse.unquote_plus(value)
        if key in ("fileloc", "filename"):
            return os.path.splitext(os.path.basename(value))[0]
        if key == "extra" and value.startswith("{"):
            return neutral(json.loads(value), around, (*path, "{}"))
        extra = re.fullmatch(r"Extra query parameter\(s\) (.*) not in spec", value)
        if extra:
            return "Extra query parameter(s) %s not in spec" % sorted(extra[1].split(", "))
        if key in NUMBERS and re.fullmatch(r"[\d.]+", value):
            return "<number>"
        return recent(ADDRESS.sub("", value), around, span)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and key in NUMBERS and value:
        return "<number>"
    return value


def differences(recorded, seen, where):
    """The places where two values differ."""
    found, todo = [], [(recorded, seen, where)]
    while todo:
        a, b, at = todo.pop()
        if json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True):
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            todo.extend((a.get(k, "<absent>"), b.get(k, "<absent>"), "%s.%s" % (at, k)) for k in sorted({*a, *b}, reverse=True))
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            todo.extend((x, y, "%s.%d" % (at, n)) for n, (x, y) in reversed(list(enumerate(zip(a, b)))))
        else:
            found.append((at, short(a), short(b)))
    return found


def printed(log):
    """The lines that tasks wrote, of a log in either of its forms."""
    return [
        line.replace("\\'", "'")
        for line in re.findall(r"\{subprocess\.py:\d+\} INFO - ((?:(?!\\n|\n|Tmp dir|Running command|Output:|Command exited).)+)", log)
    ]


def compare_log(recorded, seen):
    """Logs are each server's own text, but what a task wrote must be there, in the recorded form."""
    found = []
    for line in printed(recorded):
        if line.strip() and line not in seen:
            found.append(("log", line, "not in %s" % short(seen)))
    if recorded[:2] == "[(" and not (seen[:2] == "[(" and seen[-2:] == ")]"):
        found.append(("log.form", short(recorded), short(seen)))
    return found


def short(value):
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= 300 else text[:300] + "…"


class Replay:
    def __init__(self, server, folder, dags, ours, missing):
        self.server, self.folder, self.dags, self.ours, self.missing = server, folder, dags, ours, missing
        # What the server gave where the recording gave something else, for the requests that send it back.
        self.theirs = {}

    def token(self):
        return (self.server.ask("GET", "/dags/etl_chain") or {}).get("file_token", "none")

    def one(self, name):
        """Sends one recorded request; gives the differences as (where, recorded, seen)."""
        with open(os.path.join(self.folder, name + ".json"), encoding="utf-8") as file:
            recording = json.load(file)
        request, recorded = recording["request"], recording["response"]
        path = request["path"] + ("?" + request["query"] if request["query"] else "")
        if "{{FILE_TOKEN}}" in path:
            path = path.replace("{{FILE_TOKEN}}", self.token())
        if PRODUCED in path:
            date = self.server.ask("GET", "/dags/dataset_producer/dagRuns/rec_1")["logical_date"]
            path = path.replace(PRODUCED, urllib.parse.quote(date, safe=""))
        for old, new in self.theirs.items():
            path = path.replace(old, new)
        body = request.get("raw")
        if "json" in request:
            body = json.dumps(request["json"])
        body = None if body is None else body.encode()
        status, headers, text = self.server.send(request["method"], path, body, request["auth"], request["headers"])

        found = []
        if status != recorded["status"]:
            found.append(("status", str(recorded["status"]), "%d: %s" % (status, short(text))))
        if self.ours and status >= 500:
            found.append(("5xx", str(recorded["status"]), str(status)))
        if found:
            return found
        for header in HEADERS:
            a, b = recorded["headers"].get(header), headers.get(header)
            if header == "set-cookie":
                a, b = (c and re.sub(r"session=[^;]*; Expires=[^;]*;", "session;", c) for c in (a, b))
            if header == "allow" and a and b:
                a, b = sorted(a.split(", ")), sorted(b.split(", "))
            if header == "location" and a and b:
                a, b = urllib.parse.urlsplit(a).path, urllib.parse.urlsplit(b).path
            if a != b:
                found.append(("header." + header, str(a), str(b)))
        if request["method"] == "HEAD" or status in (204, 304):
            return found + ([("body", "none", short(text))] if text else [])
        if "json" in recorded:
            try:
                seen = json.loads(text)
            except ValueError:
                return found + [("body", short(recorded["json"]), short(text))]
            return found + self.bodies(name, recorded, seen, text)
        if "text" in recorded:
            if "/logs/" in path:
                return found + compare_log(recorded["text"], text)
            if "html" not in recorded["headers"]["content-type"] and recorded["text"] != text:
                found.append(("body", short(recorded["text"]), short(text)))
        elif text:
            found.append(("body", "none", short(text)))
        return found

    def bodies(self, name, recorded, seen, text):
        found = []
        if recorded.get("raw_head", "").startswith('{\n  "') and json.dumps(seen, indent=2, sort_keys=True) + "\n" != text:
            found.append(("form", "sorted keys, two blanks, a newline at the end", short(text)))
        self.learn(recorded["json"], seen)
        a, b = self.world(recorded["json"]), seen
        if isinstance(a, dict) and isinstance(b, dict):
            # Of long members it was only recorded that they are there.
            b = {k: "..." if a.get(k) == "..." else v for k, v in b.items()}
        if "/logs/" not in name and isinstance(a, dict) and set(a) == {"content", "continuation_token"} and isinstance(b, dict):
            found += compare_log(a["content"], str(b.get("content")))
            a, b = dict(a, content=""), dict(b, content="" if isinstance(b.get("content"), str) else b.get("content"))
        unordered = any(fnmatch.fnmatchcase(name, u) for u in UNORDERED)
        a = neutral(a, self.recorded_at(), unordered=unordered)
        b = neutral(b, datetime.datetime.now(UTC), unordered=unordered)
        return found + differences(a, b, "body")

    def world(self, answer):
        """The recording without the DAGs that its folder had and this one has not."""
        if isinstance(answer, dict) and isinstance(answer.get("dags"), list):
            here = [d for d in answer["dags"] if d.get("dag_id") not in self.missing]
            answer = dict(answer, dags=here)
            if answer["total_entries"] >= 40:
                answer["total_entries"] -= len(self.missing)
        return answer

    @staticmethod
    def recorded_at():
        return datetime.datetime(2026, 11, 21, 13, 8, tzinfo=UTC)

    def learn(self, recorded, seen):
        """Notes tokens, which later requests send back."""
        if isinstance(recorded, dict) and isinstance(seen, dict):
            a, b = recorded.get("continuation_token"), seen.get("continuation_token")
            if isinstance(a, str) and isinstance(b, str):
                self.theirs[a] = b
            for a, b in zip(recorded.get("import_errors", []), seen.get("import_errors", [])):
                self.theirs["/importErrors/%d" % a["import_error_id"]] = "/importErrors/%d" % b["import_error_id"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="base of the server, for instance http://127.0.0.1:8080")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", default="admin")
    parser.add_argument("--patience", type=float, default=90, help="seconds to wait for a prepared state")
    parser.add_argument("--airflow", action="store_true", help="the server is a real Airflow: its recorded 5xx are expected")
    parser.add_argument("--plain", action="store_true", help="replay what was recorded with nothing switched on, instead of the rest")
    parser.add_argument("--only", action="append", default=[], help="report only names that fit this pattern (all are still sent)")
    parser.add_argument("--skip", action="append", default=[], help="leave out names that fit this pattern")
    parser.add_argument("--verbose", action="store_true", help="print the equal and the accepted ones too")
    parser.add_argument("recordings", help="the folder with INDEX.tsv")
    args = parser.parse_args()

    accepted = []
    with open(os.path.join(HERE, "accepted.tsv"), encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                accepted.append(line.rstrip("\n").split("\t"))
    used = set()

    def reason(name, where, seen):
        for n, (who, names, places, why) in enumerate(accepted):
            if who == ("updraft" if args.airflow else "airflow"):
                continue
            place, _, value = places.partition("=")
            if fnmatch.fnmatchcase(name, names) and fnmatch.fnmatchcase(where, place) and seen.startswith(value):
                used.add(n)
                return why
        return None

    # The second index was recorded with no role for callers without credentials, and nothing shown or tried that could harm:
    # as this server is set by default.
    with open(os.path.join(args.recordings, "INDEX.variants.tsv" if args.plain else "INDEX.tsv"), encoding="utf-8") as file:
        names = [line.split("\t")[0] for line in file][1:]
    server = Server(args.url, args.user, args.password)
    prepare = Preparation(server, args.patience)
    here = set(prepare.start())
    with open(os.path.join(args.recordings, "errors.limit_zero.json"), encoding="utf-8") as file:
        there = {d["dag_id"] for d in json.load(file)["response"]["json"]["dags"]}
    missing = there - here
    print("DAGs of the recording that the server has not: %s" % (", ".join(sorted(missing)) or "none"))
    replay = Replay(server, args.recordings, here, not args.airflow, missing)
    passed = failed = skipped = 0
    for name in names:
        if any(fnmatch.fnmatchcase(name, s) for s, _ in SKIPPED) or any(fnmatch.fnmatchcase(name, s) for s in args.skip):
            skipped += 1
            continue
        prepare.before(name)
        try:
            found = replay.one(name)
        except Exception as problem:
            # No answer, or one of a shape that nobody foresaw: the others are still compared.
            found = [("answer", "one that can be compared", repr(problem))]
        prepare.after(name)
        if args.only and not any(fnmatch.fnmatchcase(name, o) for o in args.only):
            skipped += 1
            continue
        bad = 0
        for where, recorded, seen in found:
            why = reason(name, where, seen)
            if why is None:
                bad += 1
                print("differs  %s %s\n    recorded %s\n    seen     %s" % (name, where, recorded, seen), flush=True)
            elif args.verbose:
                print("accepted %s %s: %s" % (name, where, why))
        if bad:
            failed += 1
        else:
            passed += 1
            if args.verbose:
                print("same     %s" % name)
    if args.verbose:
        for n, entry in enumerate(accepted):
            if n not in used and entry[0] != ("updraft" if args.airflow else "airflow"):
                print("not needed: %s" % "\t".join(entry))
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
