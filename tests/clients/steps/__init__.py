"""The steps, a file a resource. They use the DAGs of tests/data/airflow-dags only, and none needs another step."""

from steps import monitoring, dags, dag_runs, task_instances, marking, mapped, xcoms, pools, import_errors, event_logs, live  # noqa: F401, E401
