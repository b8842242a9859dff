"""Drives a server with the official client 2.10.0 (`apache-airflow-client==2.10.0`)."""

import sys

import harness
import steps  # noqa: F401 (registers the steps)

if __name__ == "__main__":
    sys.exit(harness.main("2.10.0"))
