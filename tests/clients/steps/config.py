"""The configuration, where the server shows it."""

from harness import check, equal, plain, step


def options(answer):
    return {s["name"]: {o["key"]: o["value"] for o in s["options"]} for s in answer["sections"]}


@step("config get: sections with their options")
def get(t):
    seen = options(plain(t.config.get_config()))
    check({"core", "webserver", "scheduler"} <= set(seen), "there are the usual sections: %s" % sorted(seen))
    check(int(seen["core"]["parallelism"]) > 0, "parallelism is a number")
    check("secret_key" in seen["webserver"], "the webserver has a secret")


@step("config get: one section, one option, unknown ones", since="2.10.0")
def parts(t):
    section = options(plain(t.config.get_config(section="core")))
    equal(list(section), ["core"], "the sections asked for")
    value = section["core"]["parallelism"]
    equal(options(plain(t.config.get_value("core", "parallelism"))), {"core": {"parallelism": value}}, "the option asked for")
    equal(options(plain(t.config.get_value("webserver", "secret_key")))["webserver"]["secret_key"], "< hidden >", "a secret")
    with t.refused(404, "section not found.", "section=nope not found."):
        t.config.get_config(section="nope")
    with t.refused(404, "Config not found.", "The option [core/nope] is not found in config."):
        t.config.get_value("core", "nope")
