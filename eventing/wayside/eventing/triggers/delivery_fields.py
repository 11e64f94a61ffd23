"""Reads the `delivery` of a Broker or a Trigger.

Source: Knative Eventing v1, DeliverySpec.
Invariant: what the manifest leaves out has the default; what is there and not understood is refused.
"""

from wayside.eventing.triggers.delivery import BackoffPolicy, DeliverySpec, parse_period
from wayside.eventing.triggers.destinations import Resolver
from wayside.eventing.triggers.fields import Fields

_DELIVERY = ("retry", "timeout", "backoffPolicy", "backoffDelay", "retryAfterMax", "deadLetterSink", "format")
_LONGEST_S = 366 * 86_400


def read_delivery(spec: Fields, namespace: str, resolver: Resolver) -> DeliverySpec | None:
    """The `delivery` of a Broker or Trigger as a whole; what it leaves out has the default, not the Broker's value.

    None where there is none. Raises `ConfigurationError`.
    """
    delivery = spec.child("delivery")
    if delivery is None:
        return None
    delivery.allow(_DELIVERY)
    default = DeliverySpec()
    sink = delivery.child("deadLetterSink")
    retry_after_max = _period_s(delivery, "retryAfterMax", -1.0)
    return DeliverySpec(
        retry=delivery.count("retry", default.retry),
        policy=_policy(delivery),
        delay_s=_period_s(delivery, "backoffDelay", default.delay_s),
        timeout_s=_period_s(delivery, "timeout", default.timeout_s) or delivery.fail("timeout", "must be over 0"),
        retry_after_max_s=None if retry_after_max < 0 else retry_after_max,
        dead_letter_sink=resolver.resolve(sink, namespace) if sink else None,
        structured=_structured(delivery),
    )


def _period_s(delivery: Fields, name: str, default: float) -> float:
    if not delivery.has(name):
        return default
    try:
        period_s = parse_period(delivery.text(name))
    except ValueError as exc:
        delivery.fail(name, str(exc))
    return period_s if period_s <= _LONGEST_S else delivery.fail(name, "is more than a year")


def _policy(delivery: Fields) -> BackoffPolicy:
    text = delivery.text("backoffPolicy", BackoffPolicy.EXPONENTIAL.value)
    try:
        return BackoffPolicy(text)
    except ValueError:
        delivery.fail("backoffPolicy", f"must be 'linear' or 'exponential', not {text[:64]!r}")


def _structured(delivery: Fields) -> bool:
    text = delivery.text("format", "binary")
    if text not in ("binary", "json"):
        delivery.fail("format", f"must be 'binary' or 'json', not {text[:64]!r}")
    return text == "json"
