"""The settings of a bucket's client, out of the address and the environment.

Source: kserve/kserve pkg/agent/storage (what the agent reads); the builders of Rust's object_store, which read the
clouds' own variables (AWS_*, GOOGLE_*, AZURE_*) themselves.
Invariant: no I/O; secrets stay in the environment, but for those that the client would not find there by its own names.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from wayside.logger.emit.store.address import Cloud, StoreAddress

Environ = Mapping[str, str]
_ACCELERATED = "s3-accelerate.amazonaws.com"


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """`config` are obstore's names for settings of the cloud; `plain_http`: its endpoint is not https. `ca_file` may be
    empty. Never to be logged: `config` may hold a token."""

    cloud: Cloud
    bucket: str
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    plain_http: bool = False
    ca_file: str = ""


def bucket_settings(address: StoreAddress, environ: Environ) -> BucketSettings:
    """What a client needs besides what it reads itself."""
    ca_file = environ.get("AWS_CA_BUNDLE", "") if address.cloud is Cloud.S3 else ""
    config, endpoint = _READ[address.cloud](address, environ)
    return BucketSettings(address.cloud, address.bucket, config, endpoint.startswith("http://"), ca_file)


def _s3(address: StoreAddress, environ: Environ) -> tuple[dict[str, str], str]:
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or environ.get("AWS_ENDPOINT", "")
    config: dict[str, str] = {}
    if environ.get("awsAnonymousCredential", "").lower() == "true":
        config["skip_signature"] = "true"
    if not endpoint and environ.get("S3_USE_ACCELERATE", "").lower() == "true":
        endpoint = f"https://{_ACCELERATED}"
    if _names_bucket_in_host(address.bucket, endpoint, environ.get("S3_USER_VIRTUAL_BUCKET", "").lower()):
        config["virtual_hosted_style_request"] = "true"
        if endpoint:
            scheme, _, rest = endpoint.partition("://")
            config["endpoint"] = f"{scheme}://{address.bucket}.{rest}"
    return config, endpoint


def _names_bucket_in_host(bucket: str, endpoint: str, asked: str) -> bool:
    """Amazon's way, which another endpoint often cannot: there it has to be asked for."""
    if asked == "false" or "." in bucket or _is_ip(urlsplit(endpoint).hostname or ""):
        return False
    return not endpoint or endpoint.endswith(_ACCELERATED) or asked == "true"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _gcs(address: StoreAddress, environ: Environ) -> tuple[dict[str, str], str]:
    return {}, environ.get("GOOGLE_BASE_URL", "")


def _azure(address: StoreAddress, environ: Environ) -> tuple[dict[str, str], str]:
    """The agent's variables first, as the agent has it, then the URL's account, then the client's own."""
    given = {
        "account_name": environ.get("AZURE_ACCOUNT_NAME") or address.account,
        "endpoint": environ.get("AZURE_SERVICE_URL", "").rstrip("/"),
        "token": environ.get("AZURE_ACCESS_TOKEN", ""),
        "credential_type": _azure_credential(environ),
    }
    config = {name: value for name, value in given.items() if value}
    if "endpoint" in config:
        config.setdefault("account_name", (urlsplit(config["endpoint"]).hostname or "").partition(".")[0])
    return config, config.get("endpoint", environ.get("AZURE_STORAGE_ENDPOINT", ""))


def _azure_credential(environ: Environ) -> str:
    """For the agent AZURE_STORAGE_ACCESS_KEY, whatever is in it, means an identity: one goes before a key."""
    if environ.get("AZURE_CLIENT_ID") and environ.get("AZURE_TENANT_ID"):
        if environ.get("AZURE_CLIENT_SECRET"):
            return "client_secret"
        if environ.get("AZURE_FEDERATED_TOKEN_FILE"):
            return "workload_identity"
    return ""


_READ = {Cloud.S3: _s3, Cloud.GCS: _gcs, Cloud.AZURE: _azure}
