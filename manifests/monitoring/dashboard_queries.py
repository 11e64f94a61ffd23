"""PromQL that panels are made of, and the dashboard's variables as label matchers.

Invariant: rates are taken over Grafana's `$__rate_interval`, so that no step of a graph misses an increase.
"""

OF_SERVICES = 'namespace=~"$namespace",service=~"$service"'
OF_VERDICTS = f'{OF_SERVICES},detector=~"$detector"'
BY_VERDICT = "namespace, service, detector"
WHO = "{{namespace}}/{{service}} {{detector}}"


def rate(counter: str, by: str, labels: str = "") -> str:
    """How fast a counter grows, a second, for each value of the labels `by`."""
    return f"sum by ({by}) (rate({counter}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "", labels: str = "") -> str:
    """The value that a `share` of a histogram's observations stay below."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', f'le, {by}' if by else 'le', labels)})"


def fill_share(used: str, limit: str, by: str, labels: str = "") -> str:
    """How much of a bound is in use, 0 to 1."""
    return f"max by ({by}) ({used}{{{labels}}} / {limit}{{{labels}}})"
