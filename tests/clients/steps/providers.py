"""Providers."""

from harness import check, equal, plain, step


@step("providers list: names and versions")
def listing(t):
    # The client takes the list for a boolean.
    seen = plain(t.providers.get_providers(_check_return_type=False))
    equal(seen["total_entries"], len(seen["providers"]), "total_entries")
    for provider in seen["providers"]:
        check(set(provider) >= {"package_name", "description", "version"}, "members of a provider: %s" % sorted(provider))
