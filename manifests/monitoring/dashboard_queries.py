"""PromQL that panels are made of, and the dashboard's variables as label matchers.

Invariant: rates are taken over Grafana's `$__rate_interval`, so that no step of a graph misses an increase.
"""

OF_SERVICES = 'namespace=~"$namespace",service=~"$service"'
OF_VERDICTS = f'{OF_SERVICES},detector=~"$detector"'
BY_SERVICE = "namespace, service"
SERVICE = "{{namespace}}/{{service}}"
BY_VERDICT = f"{BY_SERVICE}, detector"
WHO = f"{SERVICE} {{{{detector}}}}"
# drift is told of each endpoint and revision by itself
BY_SERIES = f"{BY_SERVICE}, component, endpoint, revision, detector"
SERIES = f"{SERVICE} {{{{component}}}} {{{{endpoint}}}} {{{{revision}}}} {{{{detector}}}}"
# in a cluster `namespace` is where a process runs, so that two installations are two lines; elsewhere it is empty
BY_JOB = "namespace, job"
JOB = "{{namespace}} {{job}}"


def rate(counter: str, by: str, labels: str = "") -> str:
    """How fast a counter grows, a second, for each value of the labels `by`."""
    return f"sum by ({by}) (rate({counter}{{{labels}}}[$__rate_interval]))"


def increase(counter: str, by: str, labels: str = "") -> str:
    """How much a counter grew in an interval of the graph, for what happens too seldom to be told a second."""
    return f"sum by ({by}) (increase({counter}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str, labels: str = "") -> str:
    """The value that a `share` of a histogram's observations stay below."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', f'le, {by}', labels)})"


def fill_share(used: str, limit: str, by: str, labels: str = "") -> str:
    """How much of a bound is in use, 0 to 1."""
    return f"max by ({by}) ({used}{{{labels}}} / {limit}{{{labels}}})"
