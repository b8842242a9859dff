"""Plugins."""

from harness import check, equal, plain, step


@step("plugins list: pages")
def listing(t):
    seen = plain(t.plugins.get_plugins(limit=100))
    equal(seen["total_entries"], len(seen["plugins"]), "total_entries")
    check(all(p["name"] for p in seen["plugins"]), "each has a name")
    equal(plain(t.plugins.get_plugins(limit=1, offset=1000))["plugins"], [], "the page after the end")
