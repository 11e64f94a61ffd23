"""What one of several logger processes may take: its part of every bound.

Invariant: the parts together are the bound that was set for all, and never more than one more a part; pure.
"""

from dataclasses import replace
from pathlib import Path

from wayside.logger.settings import Capture, Delivery, LoggerSettings, SpoolSettings, Upstream

_PRIVATE_HOST = "127.0.0.1"


def share_of(settings: LoggerSettings, place: int) -> LoggerSettings:
    """The settings of the process at `place` (0, …) among `settings.processes`.

    It serves health and metrics to the supervisor alone, and has a folder of its own in the spool's.
    """
    parts = settings.processes
    return replace(
        settings,
        listen=replace(settings.listen, admin_host=_PRIVATE_HOST, admin_port=0),
        upstream=_upstream(settings.upstream, parts),
        capture=_capture(settings.capture, parts),
        delivery=_delivery(settings.delivery, parts, place),
        side_work=replace(settings.side_work, in_hand_bytes=_part(settings.side_work.in_hand_bytes, parts)),
    )


def _part(whole: int, parts: int) -> int:
    return max(1, whole // parts)


def _upstream(upstream: Upstream, parts: int) -> Upstream:
    return replace(upstream, idle_limit=_part(upstream.idle_limit, parts))


def _capture(capture: Capture, parts: int) -> Capture:
    sampling = capture.sampling
    if sampling.per_second is not None:
        sampling = replace(sampling, per_second=sampling.per_second / parts)
    return replace(capture, total_bytes=_part(capture.total_bytes, parts), sampling=sampling)


def _delivery(delivery: Delivery, parts: int, place: int) -> Delivery:
    return replace(
        delivery,
        workers=_part(delivery.workers, parts),
        queue_events=_part(delivery.queue_events, parts),
        queue_bytes=_part(delivery.queue_bytes, parts),
        spool=_spool(delivery.spool, parts, place) if delivery.spool is not None else None,
    )


def _spool(spool: SpoolSettings, parts: int, place: int) -> SpoolSettings:
    return replace(spool, folder=folder_of(spool.folder, place), limit_bytes=_part(spool.limit_bytes, parts))


def folder_of(folder: Path, place: int) -> Path:
    """Where the process at a place keeps its part of a spool."""
    return folder / str(place)


def left_over(folder: Path, processes: int, file_name: str) -> list[Path]:
    """The folders of a spool that no process of these has: another number of them left them behind.

    One process has the folder itself; of several each has one in it. Reads the folder's names.
    """
    named = [path for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    ours = {folder_of(folder, place) for place in range(processes)} if processes > 1 else {folder}
    return [path for path in (folder, *sorted(named)) if path not in ours and (path / file_name).is_file()]
