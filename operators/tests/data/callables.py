"""Functions that the tests call."""

import datetime
import logging
import os
import subprocess
import sys
import time

print("imported")


def nothing():
    pass


def adds(a, b=2, *, c=0):
    print("adding")
    sys.stderr.write("to stderr\n")
    logging.getLogger("mine").warning("careful\nsecond line")
    return a + b + c


def takes_all(**context):
    return sorted(context)


def names(ds, ts, run_id, params, dag_run, ti, task, dag, logical_date, conf_key=None):
    return [ds, ts, run_id, params, dag_run.conf, ti.task_id, ti.try_number, task.owner, dag.dag_id, str(logical_date), str(ti), conf_key]


def previous(prev_data_interval_start_success, prev_start_date_success):
    return [prev_data_interval_start_success, prev_start_date_success]


def talks(ti, var, conn):
    from airflow.hooks.base import BaseHook
    from airflow.models import Variable

    ti.xcom_push("key", {"a": (1, 2)})
    return [
        ti.xcom_pull(task_ids="one"),
        ti.xcom_pull(task_ids="none", default="d"),
        ti.xcom_pull(task_ids=["one", "none", "two"], key="k", dag_id="other"),
        Variable.get("known", deserialize_json=True),
        Variable.get("unknown", default_var=5),
        var.value.known,
        var.json.known["a"],
        conn.known.host,
        BaseHook.get_connection("known").conn_id,
    ]


def is_fenced(ti):
    ti.xcom_push("fenced", 1)


def fails():
    def inner():
        raise ValueError("boom")

    inner()


def skips():
    from airflow.exceptions import AirflowSkipException

    raise AirflowSkipException("nothing new")


def fails_for_good():
    from airflow.exceptions import AirflowFailException

    raise AirflowFailException("hopeless")


def exits(code):
    sys.exit(code)


def dies():
    os._exit(7)


def kinds():
    return {1: (1, {2}), "date": datetime.date(2024, 1, 2), "deep": [[None, True, 1.5, "ü"]]}


def is_no_json():
    return object()


def is_not_a_number():
    return float("nan")


def holds_itself():
    value = []
    value.append(value)
    return value


def is_deep():
    value = []
    for _ in range(200):
        value = [value]
    return value


def is_big():
    return "x" * (5 << 20)


def yields():
    yield 1
    return "end"


def echo(value):
    return value


def cleans_up():
    print("started", flush=True)
    try:
        time.sleep(1000)
    finally:
        print("cleaned up")


def sleeps():
    child = subprocess.Popen(["sleep", "1000"])
    print(f"pids {os.getpid()} {child.pid}")
    time.sleep(1000)


def leaves_a_child():
    return subprocess.Popen(["sleep", "1000"]).pid


def reads_stdin():
    return sys.stdin.read()


def shell():
    subprocess.run(["echo", "from a child"], check=True)
    os.write(1, b'{"end": "returned", "value": "forged"}\n')
    return "mine"


not_callable = 5


def transforms(ti, var, prev_data_interval_start_success):
    earlier = ti.xcom_pull(task_ids="transform", key="pushed", include_prior_dates=True)
    ti.xcom_push("pushed", [1, 2])
    return {
        "total": int(ti.xcom_pull(task_ids="extract")) + int(var.value.step),
        "earlier": earlier,
        "before": prev_data_interval_start_success,
    }


def updates(triggering_dataset_events, outlet_events, outlets):
    from airflow.datasets import Dataset

    outlet_events[outlets[0]].extra = {"rows": 1}
    outlet_events["s3://lab/b"].extra["more"] = [None]
    outlet_events[Dataset("s3://lab/c")]
    last = triggering_dataset_events["s3://lab/y"][-1]
    return [
        list(triggering_dataset_events),
        [event.extra for event in triggering_dataset_events["s3://lab/x"]],
        [last.source_dag_id, last.dataset.uri, last.timestamp.strftime("%Y-%m-%d"), last.source_dag_run.run_id],
        repr(outlets),
    ]
