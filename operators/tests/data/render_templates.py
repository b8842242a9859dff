"""Renders the templates below in a real Airflow 2.11 and writes `templates.json` beside this file.

Run it with the Python of a virtual environment that holds apache-airflow 2.11 (AIRFLOW_HOME at a scratch folder, after
`airflow db migrate`). The facts of the world that the templates see stand in WORLD, and are written out with the results,
so that the Rust test builds the same world.
"""

import json
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")

import pendulum
from airflow.models import DAG, Connection, DagModel, DagRun, TaskInstance, Variable, XCom
from airflow.models.param import Param
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.settings import Session
from airflow.utils.types import DagRunType

WORLD = {
    "dag_id": "reports",
    "task_id": "load",
    "owner": "ann",
    "tags": ["daily", "etl"],
    "description": "Daily reports",
    "params": {"region": "eu", "limit": 10, "ratio": 0.5, "flag": True, "nothing": None, "names": ["a", "b"], "deep": {"x": {"y": [1, 2]}}},
    "conf": {
        "region": "us",
        "path": "/data/in put",
        "count": 3,
        "price": 1.0,
        "big": 1e16,
        "tiny": 0.00001,
        "none": None,
        "yes": True,
        "no": False,
        "text": "it's \"fine\"",
        "uni": "żółć ✓ 😀",
        "multi": "a\nb\tc\\d",
        "list": [3, 1, 2],
        "words": ["pear", "Apple", "fig"],
        "mixed": [1, "two", None, True, 2.5, {"k": "v'"}, [1, []]],
        "empty_list": [],
        "empty_dict": {},
        "empty": "",
        "rows": [
            {"name": "bob", "age": 30, "tags": ["x"], "active": True},
            {"name": "Alice", "age": 25, "tags": [], "active": False},
            {"name": "carl", "age": 30, "tags": ["y", "z"], "active": True},
        ],
        "nested": {"b": {"c": [10, 20, {"d": "deep"}]}, "a": 1},
        "date": "2024-02-28",
        "html": "<a href=\"x\">&</a>",
        "num_text": "42",
        "items": [1],
        "neg": -7,
    },
    "xcoms": {
        "extract": {
            "return_value": {"rows": 12, "files": ["a.csv", "b.csv"], "ok": True, "size": 1.5},
            "status": "done",
            "none": None,
        },
        "count": {"return_value": 7},
        "name": {"return_value": "O'Neil"},
        "listing": {"return_value": ["x", 1, None, 2.0, {"a": "b"}]},
    },
    "variables": {
        "bucket": "s3://data",
        "settings": "{\"retries\": 3, \"hosts\": [\"h1\", \"h2\"], \"nested\": {\"on\": true, \"off\": null}}",
        "number": "5",
        "plain_list": "[1, 2, 3]",
    },
    "connections": {
        "warehouse": {
            "conn_type": "postgres",
            "host": "db.example.com",
            "login": "ann",
            "password": "p@ss/word",
            "schema": "sales",
            "port": 5432,
            "extra": "{\"sslmode\": \"require\", \"timeout\": 30}",
            "description": "main",
        },
        "bare": {"conn_type": "http", "host": "https://api.example.com"},
        "fs": {"conn_type": "fs", "extra": "{\"path\": \"/tmp/x\"}"},
    },
    "runs": {
        "manual": {
            "run_id": "manual__2024-03-05T06:07:08.123456+00:00",
            "run_type": "manual",
            "logical_date": "2024-03-05T06:07:08.123456+00:00",
            "data_interval_start": "2024-03-04T00:00:00+00:00",
            "data_interval_end": "2024-03-05T00:00:00+00:00",
            "start_date": "2024-03-05T06:07:09+00:00",
            "external_trigger": True,
            "next_execution_date": "2024-03-05T06:07:08.123456+00:00",
            "prev_execution_date": "2024-03-05T06:07:08.123456+00:00",
        },
        "scheduled": {
            "run_id": "scheduled__2024-03-05T00:00:00+00:00",
            "run_type": "scheduled",
            "logical_date": "2024-03-05T00:00:00+00:00",
            "data_interval_start": "2024-03-05T00:00:00+00:00",
            "data_interval_end": "2024-03-06T00:00:00+00:00",
            "start_date": "2024-03-06T00:00:01+00:00",
            "external_trigger": False,
            "next_execution_date": "2024-03-06T00:00:00+00:00",
            "prev_execution_date": "2024-03-04T00:00:00+00:00",
        },
    },
    "previous_success": {
        "run_id": "scheduled__2024-03-03T00:00:00+00:00",
        "logical_date": "2024-03-03T00:00:00+00:00",
        "data_interval_start": "2024-03-03T00:00:00+00:00",
        "data_interval_end": "2024-03-04T00:00:00+00:00",
        "start_date": "2024-03-04T00:00:02+00:00",
        "end_date": "2024-03-04T00:05:00.500000+00:00",
    },
    "bash_command": "echo hi",
    "env": {"A": "1"},
}

CASES = pathlib.Path(__file__).with_name("templates.txt")


def cases():
    """Reads the templates: separated by lines of `----`, with `@name` lines before a template choosing another run."""
    run = "manual"
    for block in CASES.read_text(encoding="utf-8").split("\n----\n"):
        if block.startswith("#"):
            continue
        if block.startswith("@"):
            head, block = block.split("\n", 1)
            run = head[1:].strip()
        else:
            run = "manual"
        if block.startswith("'") and block.endswith("'"):
            block = eval(block)  # A template whose ends are white space is written as a Python string.
        yield run, block


def build():
    """Puts WORLD into Airflow's database; returns the template contexts by run."""
    session = Session()
    for model in (XCom, TaskInstance, DagRun, Variable, Connection, DagModel):
        session.query(model).delete()
    session.commit()
    with DAG(
        WORLD["dag_id"],
        schedule="@daily",
        start_date=pendulum.datetime(2024, 1, 1, tz="UTC"),
        catchup=False,
        tags=WORLD["tags"],
        description=WORLD["description"],
        default_args={"owner": WORLD["owner"]},
        params={k: Param(v) if k == "limit" else v for k, v in WORLD["params"].items()},
    ) as dag:
        sources = [EmptyOperator(task_id=name) for name in WORLD["xcoms"]]
        task = BashOperator(task_id=WORLD["task_id"], bash_command=WORLD["bash_command"], env=WORLD["env"], retries=2)
        sources >> task
    dag.sync_to_db(session=session)
    session.commit()

    for name, value in WORLD["variables"].items():
        Variable.set(name, value, session=session)
    for name, fields in WORLD["connections"].items():
        session.add(Connection(conn_id=name, **fields))
    session.commit()

    def run_of(facts, conf=None, state="running"):
        run = dag.create_dagrun(
            run_id=facts["run_id"],
            run_type=DagRunType(facts.get("run_type", "scheduled")),
            execution_date=pendulum.parse(facts["logical_date"]),
            data_interval=(pendulum.parse(facts["data_interval_start"]), pendulum.parse(facts["data_interval_end"])),
            start_date=pendulum.parse(facts["start_date"]),
            external_trigger=facts.get("external_trigger", False),
            conf=conf,
            state=state,
            session=session,
        )
        if facts.get("end_date"):
            run.end_date = pendulum.parse(facts["end_date"])
        session.commit()
        return run

    run_of(WORLD["previous_success"], state="success")
    contexts = {}
    # The run without a configuration comes first: Airflow merges the other's into the task's own params.
    for name, facts in sorted(WORLD["runs"].items(), reverse=True):
        run = run_of(facts, conf=WORLD["conf"] if name == "manual" else None)
        for source, values in WORLD["xcoms"].items():
            for key, value in values.items():
                XCom.set(
                    key=key, value=value, task_id=source, dag_id=dag.dag_id, run_id=run.run_id, session=session
                )
        ti = run.get_task_instance(task.task_id, session=session)
        ti.state = "running"
        ti.try_number = 1
        session.commit()
        # Read everything back, as a worker does: dates from the database are in UTC itself, not at a fixed offset.
        run_id = run.run_id
        session.expunge_all()
        run = session.query(DagRun).filter_by(run_id=run_id).one()
        ti = run.get_task_instance(task.task_id, session=session)
        ti.task = task
        contexts[name] = ti.get_template_context(session=session)
    return task, contexts


def main():
    task, contexts = build()
    results = []
    for run, template in cases():
        result = {"template": template}
        if run != "manual":
            result["run"] = run
        try:
            result["expected"] = task.render_template(template, contexts[run])
            if not isinstance(result["expected"], str):
                raise TypeError("not a string")
        except Exception as error:
            result["error"] = type(error).__name__
            result["message"] = str(error).split("\n")[0].replace(str(CASES.parent), "dags")
        results.append(result)
    out = {"origin": "Made by render_templates.py with Apache Airflow 2.11.2.", "world": WORLD, "cases": results}
    target = pathlib.Path(__file__).with_name("templates.json")
    target.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(len(results), "cases,", sum("error" in r for r in results), "errors", file=sys.stderr)


main()
