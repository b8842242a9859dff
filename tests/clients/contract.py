"""Holds a server against one of Airflow's OpenAPI documents, with requests that schemathesis makes up from the document.

The requests are the same in each start. Where real Airflow itself does not keep what its documents promise, the document is
amended first: what is accepted stands in this file, and nothing else is."""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

METHODS = ("get", "post", "put", "patch", "delete")

# Statuses that Airflow answers where an operation does not document them: what the router, the checks of requests and the access
# control refuse. The type of what they carry is another one too: the documents say application/json for each.
GENERIC = ["400", "401", "403", "404", "405", "415"]
PROBLEM = "application/problem+json"
# An answer in no acceptable form has no form.
UNACCEPTABLE = ("406", "text/html")
CONFLICTS = ["patch_user", "post_connection", "post_pool", "post_role"]
# Refused by a line of plain text.
PLAIN = {"test_connection": ("403", "text/html")}
# Members of problems that are null in real answers: the text is in one of them, and the other has none.
NULLS = ["title", "detail"]
# Airflow takes users without a name, and then shows them.
NAMES = ["first_name", "last_name", "username", "email"]
# Rules that came after 2.2.
RULES = ["all_skipped", "one_done", "always", "all_done_setup_success"]
# What takes users away is tried last: once the caller is gone, nothing but refusals could be seen.
LAST = "^(delete_user|patch_user)$"
# The document of 2.2 turned the words of this type round.
TYPES = {"plain/text": "text/plain"}

# What requests are about, besides what is made up: else nearly all would ask for what is not there.
KNOWN = {
    "dag_id": ["etl_chain", "params", "xcom", "contract", "~"],
    "dag_run_id": ["contract", "~"],
    "task_id": ["extract", "load", "push", "~"],
    "xcom_key": ["return_value"],
    "pool_name": ["default_pool", "contract"],
    "connection_id": ["contract"],
    "variable_key": ["contract"],
    "username": ["contract"],
    "role_name": ["contract", "Viewer"],
    "uri": ["s3://lab/one.csv"],
    "event_log_id": [1],
    "task_try_number": [1],
    "order_by": ["-id", "dag_id", "nope"],
}


def ask(url, login, method, path, body=None):
    """A request of the preparation; what is refused is no matter."""
    request = urllib.request.Request(url + path, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")
    except urllib.error.HTTPError:
        return None


def prepare(url, login):
    """Makes what KNOWN names."""
    for dag_id in ("etl_chain", "params", "xcom"):
        ask(url, login, "POST", "/dags/%s/dagRuns" % dag_id, {"dag_run_id": "contract"})
    ask(url, login, "POST", "/pools", {"name": "contract", "slots": 3})
    ask(url, login, "POST", "/connections", {"connection_id": "contract", "conn_type": "http", "extra": '{"token": "x"}'})
    ask(url, login, "POST", "/variables", {"key": "contract", "value": "v"})
    actions = [{"action": {"name": "can_read"}, "resource": {"name": "DAGs"}}]
    ask(url, login, "POST", "/roles", {"name": "contract", "actions": actions})
    names = {"first_name": "F", "last_name": "L", "email": "contract@example.com", "password": "pw"}
    ask(url, login, "POST", "/users", {"username": "contract", "roles": [{"name": "Viewer"}], **names})
    for _ in range(100):
        runs = [ask(url, login, "GET", "/dags/%s/dagRuns/contract" % dag_id) for dag_id in ("etl_chain", "params", "xcom")]
        if all(not run or run["state"] in ("success", "failed") for run in runs):
            return
        time.sleep(0.2)


def amend(document):
    """Writes into the document what real Airflow does and the document does not say."""
    parts = document["components"]
    for member in NULLS:
        parts["schemas"]["Error"]["properties"][member]["nullable"] = True
    error = {"$ref": "#/components/schemas/Error"}
    for schema in ("User", "UserCollectionItem"):
        for part in [parts["schemas"].get(schema, {}), *parts["schemas"].get(schema, {}).get("allOf", [])]:
            for name in NAMES:
                part.get("properties", {}).get(name, {}).pop("minLength", None)
    rules = parts["schemas"]["TriggerRule"]["enum"]
    rules += [rule for rule in RULES if rule not in rules]
    problem = {"description": "A problem.", "content": {PROBLEM: {"schema": error}}}
    for response in parts["responses"].values():
        response["content"] = problem["content"]
    for item in document["paths"].values():
        for method, operation in item.items():
            if method not in METHODS:
                continue
            responses = operation["responses"]
            for status in GENERIC + (["409"] if operation["operationId"] in CONFLICTS else []):
                responses.setdefault(status, problem)
            for response in responses.values():
                for wrong in [k for k in response.get("content", {}) if k in TYPES]:
                    response["content"][TYPES[wrong]] = response["content"].pop(wrong)
            status, kind = UNACCEPTABLE
            responses[status] = {"description": "Nothing.", "content": {kind: {"schema": {"type": "string"}}}}
            if operation["operationId"] in PLAIN:
                status, kind = PLAIN[operation["operationId"]]
                responses[status] = {"description": "Text.", "content": {kind: {"schema": {"type": "string"}}, **problem["content"]}}
    for parameter in [*parts["parameters"].values(), *(p for i in document["paths"].values() for p in of_item(i))]:
        known = KNOWN.get(parameter.get("name"))
        if known:
            parameter["schema"] = {"anyOf": [{"enum": known}, parameter["schema"]]}


def of_item(item):
    """The parameters that a path and its operations write out."""
    found = list(item.get("parameters", []))
    for method in METHODS:
        found += item.get(method, {}).get("parameters", [])
    return [p for p in found if "$ref" not in p]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="base of the API, for instance http://127.0.0.1:8080/api/v1")
    parser.add_argument("--login", default="admin:admin", help="USER:PASSWORD of an administrator; what they may do is done")
    parser.add_argument("--examples", type=int, default=10, help="most made-up requests of an operation")
    parser.add_argument("--patience", type=float, default=300, help="most seconds that all may take")
    parser.add_argument("--only", default="", help="only the operations that fit this pattern")
    parser.add_argument("document", help="Airflow's OpenAPI document")
    args = parser.parse_args()

    with open(args.document, encoding="utf-8") as file:
        document = yaml.safe_load(file)
    amend(document)
    prepare(args.url, args.login)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "openapi.json"), "w", encoding="utf-8") as file:
            json.dump(document, file, default=str)
        command = [
            os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", "openapi.json", "--url", args.url,
            "--auth", args.login, "--phases", "examples,coverage,fuzzing", "--max-examples", str(args.examples),
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            "--seed", "1", "--generation-deterministic", "--no-shrink",
            "--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "30", "--no-color",
            "--continue-on-failure",
        ]  # fmt: skip
        if args.only:
            selections = [["--include-operation-id-regex", args.only]]
        else:
            selections = [["--exclude-operation-id-regex", LAST], ["--include-operation-id-regex", LAST]]
        try:
            codes = [subprocess.run(command + s, cwd=folder, timeout=args.patience).returncode for s in selections]
        except subprocess.TimeoutExpired:
            print("it did not end within %d s" % args.patience, file=sys.stderr)
            return 1
        return max(codes, key=bool)


if __name__ == "__main__":
    sys.exit(main())
