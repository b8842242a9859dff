"""The steps, a file a resource. They use the DAGs of tests/data/airflow-dags only, and none needs another step."""

from steps import dag_runs, dags, event_logs, import_errors, live, mapped, marking, monitoring, pools, task_instances, xcoms  # noqa: F401, E401
