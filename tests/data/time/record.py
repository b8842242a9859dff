#!/usr/bin/env python3
"""Plays the scenarios beside this file through a real Airflow, and writes what it did.

    record.py --airflow BIN --database URL --home FOLDER [--port N] [SCENARIO…]

BIN is the folder of the `airflow` command (2.11, with dag-factory 1.x and the FAB provider), URL an empty PostgreSQL
database as SQLAlchemy names it, FOLDER a new folder. Each scenario is a folder of DAG files and `scenario.json`;
`recorded.json` is written there. README.md says what the steps and the answers mean.
"""

import argparse
import base64
import concurrent.futures
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
# How long nothing may change for a state to count as the last one.
STABLE_SECONDS = 8
# What stands for SECONDS in DAG files: tasks have started by then.
SECONDS = 60
# How long tasks sleep, in seconds, before they look at their gate again.
NAP = 3
# Times that are nearer to the scenario than this, in microseconds, depend on when it was.
DAY = 86_400_000_000
# How long the recorder does.
LOOK_SECONDS = 4

# dag-factory has no key for these; and it must find each file anew.
LOADER = """
from airflow import DAG
import yaml
from dagfactory import load_yaml_dags

load_yaml_dags(globals_dict=globals(), config_filepath={path!r})
with open({path!r}) as file:
    for dag_id, conf in yaml.load(file, yaml.FullLoader).items():
        if isinstance(globals().get(dag_id), DAG):
            globals()[dag_id].fail_stop = conf.get("fail_stop", False)
            globals()[dag_id].max_consecutive_failed_dag_runs = conf.get("max_consecutive_failed_dag_runs", 0)
"""


class Airflow:
    def __init__(self, options):
        self.home = pathlib.Path(options.home).resolve()
        self.bin = pathlib.Path(options.airflow).resolve()
        self.port = options.port
        self.processes = []
        self.cli = threading.Lock()
        settings = {
            "CORE__DAGS_FOLDER": self.home / "dags",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": 32,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": 0,
            "CORE__MIN_SERIALIZED_DAG_FETCH_INTERVAL": 0,
            "DATABASE__SQL_ALCHEMY_CONN": options.database,
            "API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
            "WEBSERVER__WORKERS": 1,
            "WEBSERVER__SECRET_KEY": "recording",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.5,
            "SCHEDULER__MIN_FILE_PROCESS_INTERVAL": 3600,
            "SCHEDULER__DAG_DIR_LIST_INTERVAL": 5,
            "SCHEDULER__PARSING_PROCESSES": 1,
            "USAGE_DATA_COLLECTION__ENABLED": False,
        }
        self.env = os.environ | {f"AIRFLOW__{key}": str(value) for key, value in settings.items()}
        self.env |= {"AIRFLOW_HOME": str(self.home), "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def run(self, *args, check=True):
        command = [str(self.bin / "airflow"), *args]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        if check and done.returncode:
            raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
        return done

    def start(self):
        self.run("db", "migrate")
        self.run("users", "create", "-u", "admin", "-p", "admin", "-r", "Admin", "-f", "A", "-l", "A", "-e", "a@example.com")
        for args in (["webserver", "-p", str(self.port), "--hostname", "127.0.0.1"], ["scheduler", "--skip-serve-logs"]):
            log = open(self.home / f"{args[0]}.log", "w")
            command = ["nice", "-n", "15", str(self.bin / "airflow"), *args]
            process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)
            self.processes.append(process)

    def stop(self):
        for process in self.processes:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            process.wait()

    def call(self, method, path, body=None):
        """Status and JSON of an answer of the REST API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1{path}", data, method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(b"admin:admin").decode())
        request.add_header("Content-Type", "application/json")
        while True:
            try:
                with urllib.request.urlopen(request) as answer:
                    text = answer.read()
                    return answer.status, json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                return error.code, json.loads(error.read() or "null")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(1)

    def get(self, path, **query):
        status, answer = self.call("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))
        return answer if status == 200 else None


def microseconds(text):
    since = datetime.datetime.fromisoformat(text) - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return since // datetime.timedelta(microseconds=1)


class Scenario:
    def __init__(self, airflow, name):
        self.airflow = airflow
        self.name = name
        self.folder = HERE / name
        self.conf = json.loads((self.folder / "scenario.json").read_text())
        self.gates = airflow.home / "gates" / name
        self.file = airflow.home / "yaml" / f"{name}.yml"
        self.answers = []
        self.began = None
        self.unpaused = {}

    # The files.

    def write(self, name):
        text = (self.folder / name).read_text()
        for name, value in {"GATES": self.gates, "SECONDS": SECONDS, "NAP": NAP}.items():
            text = text.replace(name, str(value))
        self.file.write_text(text)

    def prepare(self):
        self.gates.mkdir(parents=True)
        for file in self.folder.glob("*.yml"):
            if not file.name.startswith("dags."):
                shutil.copy(file, self.gates)
        self.write("dags.yml")
        (self.airflow.home / "dags" / f"time_{self.name}.py").write_text(LOADER.format(path=str(self.file)))

    def read_dags(self):
        """Waits until the file has been read."""
        text = (self.folder / "dags.yml").read_text().splitlines()
        names = (line.split(":")[0] for line in text if line[:1].isalpha())
        self.dags = sorted(name for name in names if name != "default")
        while self.airflow.get("/dags", tags=self.name, limit=1)["total_entries"] < len(self.dags):
            time.sleep(2)

    def parse_again(self):
        before = self.airflow.get(f"/dags/{self.dags[-1]}")
        status, answer = self.airflow.call("PUT", f"/parseDagFile/{before['file_token']}")
        assert status in (201, 409), answer
        while self.airflow.get(f"/dags/{self.dags[-1]}")["last_parsed_time"] == before["last_parsed_time"]:
            time.sleep(0.5)

    # What there is, with times that don't depend on when it was.

    def time(self, text, dag=None):
        if text is None:
            return None
        at = microseconds(text)
        tick = self.conf.get("ticks", {}).get(dag)
        if tick and dag in self.unpaused:
            base = int(self.unpaused[dag] // tick * tick)
            count, rest = divmod(at - base * 1_000_000, tick * 1_000_000)
            if rest == 0:
                return f"tick{count:+}"
        if abs(at - self.began) > DAY:
            return datetime.datetime.fromtimestamp(at / 1e6, datetime.timezone.utc).isoformat()
        before = sum(microseconds(event["timestamp"]) <= at for event in self.events)
        return f"event {before - 1}" if before else "now"

    def run_id(self, run):
        kind, _, date = run["dag_run_id"].partition("__")
        if date == run["logical_date"]:
            return f"{kind}__{self.time(date, run['dag_id'])}"
        return run["dag_run_id"]

    def run(self, run, instances):
        dag = run["dag_id"]
        path = f"/dags/{dag}/dagRuns/{urllib.parse.quote(run['dag_run_id'], safe='')}"
        tasks = {}
        for task in instances:
            shown = f"{task['state']}/{task['try_number']}"
            if task["map_index"] < 0:
                tasks[task["task_id"]] = shown
            else:
                tasks.setdefault(task["task_id"], []).append(shown)
        shown = {
            "id": self.run_id(run),
            "type": run["run_type"],
            "logical_date": self.time(run["logical_date"], dag),
            "interval": [self.time(run["data_interval_start"], dag), self.time(run["data_interval_end"], dag)],
            "state": run["state"],
            "external": run["external_trigger"],
            "conf": run["conf"],
            "tasks": tasks,
        }
        if run["run_type"] == "dataset_triggered":
            # What `upstreamDatasetEvents` answers, for all runs at once.
            consumed = lambda event: any(
                (by["dag_id"], by["dag_run_id"]) == (dag, run["dag_run_id"]) for by in event["created_dagruns"])
            shown["events"] = [place for place, event in enumerate(self.events) if consumed(event)]
        task = self.conf.get("results", {}).get(dag)
        if task and run["state"] == "success":
            result = self.airflow.get(f"{path}/taskInstances/{task}/xcomEntries/return_value")
            shown["result"] = result and result["value"]
        return shown

    def dag(self, found, runs, instances, starts):
        dag = found["dag_id"]
        next_run = [found["next_dagrun"], found["next_dagrun_data_interval_start"],
                    found["next_dagrun_data_interval_end"], found["next_dagrun_create_after"]]
        shown = {
            "paused": found["is_paused"],
            "next": [self.time(at, dag) for at in next_run],
            "runs": [self.run(run, instances.get((dag, run["dag_run_id"]), [])) for run in runs],
        }
        if dag in starts:
            ordered = sorted((run for run in runs if run["start_date"]), key=lambda run: microseconds(run["start_date"]))
            shown["starts"] = [self.run_id(run) for run in ordered]
        if self.conf.get("datasets"):
            shown["queued"] = sorted(event["uri"] for event in self.queued if event["dag_id"] == dag)
        return shown

    def event(self, event):
        source = event["source_run_id"] and [event["source_dag_id"], event["source_task_id"], event["source_run_id"]]
        return {"uri": event["dataset_uri"], "extra": event["extra"], "source": source, "map_index": event["source_map_index"]}

    def look(self, starts=()):
        self.events = []
        if self.conf.get("datasets"):
            events = self.airflow.get("/datasets/events", order_by="timestamp", limit=100)["dataset_events"]
            self.events = [event for event in events if event["dataset_uri"].startswith(f"s3://{self.name}/")]
            self.queued = []
            for uri in sorted({event["dataset_uri"] for event in self.events}):
                queued = self.airflow.get(f"/datasets/queuedEvent/{urllib.parse.quote(uri, safe='')}")
                self.queued += queued["queued_events"] if queued else []
        dags = self.airflow.get("/dags", tags=self.name, limit=100)["dags"]
        body = {"dag_ids": self.dags, "page_limit": 100}
        _, runs = self.airflow.call("POST", "/dags/~/dagRuns/list", body | {"order_by": "id"})
        _, found = self.airflow.call("POST", "/dags/~/dagRuns/~/taskInstances/list", body)
        assert found["total_entries"] <= 100, "more than a page"
        instances = {}
        for task in sorted(found["task_instances"], key=lambda task: (task["task_id"], task["map_index"])):
            instances.setdefault((task["dag_id"], task["dag_run_id"]), []).append(task)
        runs_of = lambda dag: [run for run in runs["dag_runs"] if run["dag_id"] == dag["dag_id"]]
        shown = {"dags": {dag["dag_id"]: self.dag(dag, runs_of(dag), instances, starts) for dag in dags}}
        if self.conf.get("datasets"):
            shown["events"] = [self.event(event) for event in self.events]
        return shown

    # The steps.

    def stable(self, starts, seconds):
        seen, since = None, time.monotonic()
        while time.monotonic() - since < seconds:
            now = self.look(starts)
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(LOOK_SECONDS)
        return seen

    def observe(self, step):
        starts = step.get("starts", ())
        time.sleep(step.get("patience", 0))
        while True:
            seen = self.stable(starts, STABLE_SECONDS)
            # Reading a file again settles when the next run comes, too.
            self.parse_again()
            if self.stable(starts, STABLE_SECONDS) == seen:
                return seen

    def patch_dags(self, step, verb, paused):
        named = step[verb]
        for dag in self.dags if named == "all" else named:
            if not paused:
                self.unpaused[dag] = time.time()
            status, answer = self.airflow.call("PATCH", f"/dags/{dag}", {"is_paused": paused})
            assert status == 200, answer

    def said(self, answer):
        status, body = answer
        return {"status": status} if status < 400 else {"status": status, "detail": body["detail"]}

    def chain(self, dag):
        """Lets a continuous DAG run for a while: the links between its runs."""
        list_runs = lambda: self.airflow.get(f"/dags/{dag}/dagRuns", order_by="id", limit=100)["dag_runs"]
        self.airflow.call("PATCH", f"/dags/{dag}", {"is_paused": False})
        while len(list_runs()) < 4:
            time.sleep(0.5)
        self.airflow.call("PATCH", f"/dags/{dag}", {"is_paused": True})
        time.sleep(70)
        runs = list_runs()
        return {
            "first": runs[0]["logical_date"],
            "ids": all(run["dag_run_id"] == f"scheduled__{run['logical_date']}" for run in runs),
            "types": sorted({run["run_type"] for run in runs}),
            "starts": all(run["logical_date"] == run["data_interval_start"] for run in runs),
            "linked": all(a["data_interval_end"] == b["data_interval_start"] for a, b in zip(runs, runs[1:])),
            "one at a time": all(a["end_date"] <= b["start_date"] for a, b in zip(runs, runs[1:]) if b["start_date"]),
            "ended before the next begins": all(a["end_date"] <= b["data_interval_end"] for a, b in zip(runs, runs[1:])),
        }

    def step(self, step):
        verb = next(iter(step))
        named = step[verb]
        call = self.airflow.call
        quoted = urllib.parse.quote(step.get("run", ""), safe="")
        match verb:
            case "observe":
                return self.observe(step)
            case "chain":
                return self.chain(named)
            case "unpause" | "pause":
                return self.patch_dags(step, verb, verb == "pause")
            case "trigger":
                return self.said(call("POST", f"/dags/{named}/dagRuns", step["body"]))
            case "event":
                body = {"dataset_uri": named} | ({"extra": step["extra"]} if "extra" in step else {})
                said = self.said(call("POST", "/datasets/events", body))
                for dag, count in step.get("runs", {}).items():
                    while self.airflow.get(f"/dags/{dag}/dagRuns", limit=1)["total_entries"] < count:
                        time.sleep(LOOK_SECONDS)
                return said
            case "delete_queued":
                return self.said(call("DELETE", f"/dags/{named}/datasets/queuedEvent"))
            case "clear":
                return self.said(call("POST", f"/dags/{named}/clearTaskInstances", step["body"]))
            case "clear_run":
                return self.said(call("POST", f"/dags/{named}/dagRuns/{quoted}/clear", {"dry_run": False}))
            case "patch_task":
                body = {"dry_run": False, "new_state": step["state"]}
                return self.said(call("PATCH", f"/dags/{named}/dagRuns/{quoted}/taskInstances/{step['task']}", body))
            case "open":
                (self.gates / named).touch()
            case "replace":
                time.sleep(1)
                self.write(named)
                self.parse_again()
            case "backfill":
                # One after the other: each has an executor of its own.
                with self.airflow.cli:
                    file = str(self.airflow.home / "dags" / f"time_{self.name}.py")
                    done = self.airflow.run("dags", "backfill", named, "-S", file, "-y", *step["args"], check=False)
                (self.airflow.home / "backfill.log").open("a").write(f"== {step}\n{done.stdout}{done.stderr}")
                return {"exit": done.returncode}
            case _:
                raise ValueError(verb)

    def play(self):
        self.read_dags()
        self.began = int(time.time() * 1_000_000)
        for number, step in enumerate(self.conf["steps"]):
            print(f"{self.name} {number} {step}", file=sys.stderr, flush=True)
            answer = self.step(step)
            if answer is not None:
                self.answers.append({"step": number, "answer": answer})
        (self.gates / "never").touch()
        with open(self.folder / "recorded.json", "w") as file:
            json.dump(self.answers, file, indent=1)
            file.write("\n")
        print(f"{self.name}: done", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--airflow", required=True, metavar="BIN")
    parser.add_argument("--database", required=True, metavar="URL")
    parser.add_argument("--home", required=True, metavar="FOLDER")
    parser.add_argument("--port", type=int, default=8795)
    parser.add_argument("--jobs", type=int, default=5, help="scenarios at a time")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    options = parser.parse_args()
    airflow = Airflow(options)
    for folder in ("dags", "yaml", "gates"):
        (airflow.home / folder).mkdir(parents=True)
    names = options.scenarios or sorted(folder.parent.name for folder in HERE.glob("*/scenario.json"))
    scenarios = [Scenario(airflow, name) for name in names]
    for scenario in scenarios:
        scenario.prepare()
    airflow.start()
    try:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for played in [pool.submit(scenario.play) for scenario in scenarios]:
                played.result()
    finally:
        airflow.stop()


if __name__ == "__main__":
    main()
