"""What contract.py changes of the requests that schemathesis makes up: the administrator who asks stays."""

import os

import schemathesis

KEPT = {"username": os.environ["CONTRACT_USER"], "role_name": "Admin"}


@schemathesis.hook
def before_call(context, case, kwargs):
    parts = case.path_parameters or {}
    for name, kept in KEPT.items():
        if parts.get(name) == kept:
            parts[name] = "contract"
