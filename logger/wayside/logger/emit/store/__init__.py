"""Batches of events as objects in a bucket or files in a folder, as KServe's agent writes them."""

from wayside.logger.emit.store.address import is_store_url
from wayside.logger.emit.store.sink import store_sink

__all__ = ["is_store_url", "store_sink"]
