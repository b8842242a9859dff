"""Health, version, and who may ask."""

import datetime
import re

from harness import UTC, check, equal, plain, step, when


@step("health: database and scheduler are healthy, with a fresh heartbeat")
def health(t):
    def good(seen):
        return seen["metadatabase"]["status"] == "healthy" and seen["scheduler"]["status"] == "healthy"

    seen = t.wait("a healthy server", lambda: plain(t.monitoring.get_health()), good)
    age = datetime.datetime.now(UTC) - when(seen["scheduler"]["latest_scheduler_heartbeat"])
    check(abs(age) < datetime.timedelta(seconds=120), "the heartbeat is fresh, its age is %s" % age)


@step("version: as Airflow writes it")
def version(t):
    seen = plain(t.monitoring.get_version())
    check(re.fullmatch(r"2\.\d+\.\d+", seen["version"]), "%r is a version 2.x.y" % seen["version"])
    check(seen["git_version"] is None or isinstance(seen["git_version"], str), "git_version is null or text")


@step("access: a wrong password is refused")
def wrong_password(t):
    with t.unknown():
        t.stranger.get_dags()
