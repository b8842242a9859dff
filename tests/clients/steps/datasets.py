"""Datasets, what was said about them, and what waits for the rest."""

import datetime

from airflow_client.client import models

from harness import check, equal, plain, step, subset, when

ONE, TWO, THREE = "s3://lab/one.csv", "s3://lab/two.csv", "s3://lab/three.csv"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)


def uris(answer):
    return [d["uri"] for d in answer["datasets"]]


def say(t, uri, **extra):
    return plain(t.datasets.create_dataset_event(models.CreateDatasetEvent(dataset_uri=uri, extra=extra)))


@step("datasets list: order, pages, filters", since="2.10.0")
def listing(t):
    whole = plain(t.datasets.get_datasets(order_by="uri", limit=100))
    check({ONE, TWO, THREE} <= set(uris(whole)), "all are listed: %s" % uris(whole))
    equal(whole["total_entries"], len(uris(whole)), "total_entries")
    equal(uris(whole), sorted(uris(whole)), "order by uri")
    back = plain(t.datasets.get_datasets(order_by="-uri", limit=1, offset=1))
    equal(uris(back), uris(whole)[-2:-1], "the last but one")
    equal(uris(plain(t.datasets.get_datasets(uri_pattern="LAB/one"))), [ONE], "by pattern")
    equal(uris(plain(t.datasets.get_datasets(dag_ids="dataset_consumer_one", order_by="uri"))), [ONE, THREE], "of a DAG")
    equal(uris(plain(t.datasets.get_datasets(uri_pattern="nope"))), [], "by a pattern of none")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.datasets.get_datasets(order_by="nope")


@step("datasets get: producers and consumers, an unknown one", since="2.10.0")
def get(t):
    seen = plain(t.datasets.get_dataset(ONE))
    equal(seen["uri"], ONE, "uri")
    equal(sorted(d["dag_id"] for d in seen["consuming_dags"]), ["dataset_consumer", "dataset_consumer_one"], "consumers")
    equal([(p["dag_id"], p["task_id"]) for p in seen["producing_tasks"]], [("dataset_producer", "produce")], "producers")
    when(seen["created_at"])
    with t.refused(404, "Dataset not found", "The Dataset with uri: `s3://nope` was not found"):
        t.datasets.get_dataset("s3://nope")


@step("datasets events: one said by a client, listed, unknown datasets", since="2.10.0")
def events(t):
    said = say(t, THREE, tag=t.tag)
    subset(said, {"dataset_uri": THREE, "extra": {"tag": t.tag, "from_rest_api": True}}, "the event")
    subset(said, dict.fromkeys(("source_dag_id", "source_task_id", "source_run_id")), "an event of no task")
    equal((said["source_map_index"], said["created_dagruns"]), (-1, []), "an event of no task")
    when(said["timestamp"])
    newest = plain(t.datasets.get_dataset_events(dataset_id=said["dataset_id"], order_by="-timestamp", limit=1))
    subset(newest["dataset_events"][0], {"id": said["id"], "dataset_uri": THREE}, "the newest of the dataset")
    check(newest["total_entries"] >= 1, "total_entries")
    none = plain(t.datasets.get_dataset_events(source_dag_id="nope", source_task_id="nope", source_run_id="nope", source_map_index=7))
    equal(none, {"dataset_events": [], "total_entries": 0}, "events of an unknown task")
    with t.refused(400, "Bad Request", "Ordering with 'nope' is disallowed or the attribute does not exist on the model"):
        t.datasets.get_dataset_events(order_by="nope")
    with t.refused(404, "Dataset not found", "Dataset with uri: 's3://nope' not found"):
        say(t, "s3://nope")


@step("datasets queued events: of a DAG that waits for another dataset", since="2.10.0")
def queued(t):
    dag = "dataset_consumer"

    def clear():
        for uri in (ONE, TWO):
            try:
                t.datasets.delete_dag_dataset_queued_event(dag, uri)
            except Exception as problem:
                equal(problem.status, 404, "status of the refusal")

    clear()
    say(t, TWO)
    seen = plain(t.datasets.get_dag_dataset_queued_events(dag))
    equal([(e["dag_id"], e["uri"]) for e in seen["queued_events"]], [(dag, TWO)], "queued events of the DAG")
    equal(seen["total_entries"], 1, "total_entries")
    one = plain(t.datasets.get_dag_dataset_queued_event(dag, TWO))
    subset(one, {"dag_id": dag, "uri": TWO}, "the event of the DAG and the dataset")
    equal(when(one["created_at"]), when(seen["queued_events"][0]["created_at"]), "its time")
    check((dag, TWO) in [(e["dag_id"], e["uri"]) for e in plain(t.datasets.get_dataset_queued_events(TWO))["queued_events"]], "of the dataset")
    title = "Queue event not found"
    with t.refused(404, title, "Queue event with dag_id: `%s` and dataset uri: `%s` was not found" % (dag, TWO)):
        t.datasets.get_dag_dataset_queued_event(dag, TWO, before=LONG_AGO)
    with t.refused(404, title, "Queue event with dataset uri: `%s` was not found" % TWO):
        t.datasets.get_dataset_queued_events(TWO, before=LONG_AGO)
    with t.refused(404, title, "Queue event with dag_id: `%s` was not found" % dag):
        t.datasets.get_dag_dataset_queued_events(dag, before=LONG_AGO)
    equal(t.datasets.delete_dag_dataset_queued_event(dag, TWO), None, "answer to the delete")
    with t.refused(404, title, "Queue event with dag_id: `%s` and dataset uri: `%s` was not found" % (dag, TWO)):
        t.datasets.delete_dag_dataset_queued_event(dag, TWO)
    say(t, TWO)
    equal(t.datasets.delete_dag_dataset_queued_events(dag), None, "answer to the delete of the DAG's")
    with t.refused(404, title, "Queue event with dag_id: `%s` was not found" % dag):
        t.datasets.delete_dag_dataset_queued_events(dag)
    say(t, TWO)
    equal(t.datasets.delete_dataset_queued_events(TWO), None, "answer to the delete of the dataset's")
    with t.refused(404, title, "Queue event with dataset uri: `%s` was not found" % TWO):
        t.datasets.delete_dataset_queued_events(TWO)


@step("datasets upstream events: of runs that none started", since="2.10.0")
def upstream(t):
    run = t.started("never_unpaused")["dag_run_id"]
    equal(plain(t.datasets.get_upstream_dataset_events("never_unpaused", run)), {"dataset_events": [], "total_entries": 0}, "events")
    with t.refused(404, "DAGRun not found", "DAGRun with DAG ID: 'never_unpaused' and DagRun ID: 'nope' not found"):
        t.datasets.get_upstream_dataset_events("never_unpaused", "nope")
