"""Choices that the page offers: trackers and their qualities, writers, prompt methods, recent sessions."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal, get_args, get_origin

from vos.plugin import TrackerSpec, VosError, check_can_start
from vos.version import __version__
from vos_web.prompts import CORRECTING, PRIMARY, methods_of
from vos_web.service import Service


def catalogue(service: Service) -> dict[str, Any]:
    """List what the page can choose from, ready for JSON."""
    return {
        "version": __version__,
        "trackers": [
            {
                "name": spec.name,
                "summary": spec.summary,
                "qualities": qualities_of(spec),
                "quality": quality_of(service, spec),
                "missing": missing_of(service, spec),
            }
            for spec, _ in service.plugins.trackers.all()
        ],
        "writers": [{"name": spec.name, "summary": spec.summary} for spec, _ in service.plugins.writers.all()],
        "methods": methods_of(service.plugins, service.runtime, service.settings.sam_checkpoint),
        "correcting": list(CORRECTING),
        "finds": PRIMARY in service.plugins.initializers.names(),
        "sessions": service.store.recent(),
        "output": str(service.settings.output),
        "folder": str(service.allowed.folders[0]),
        "session": service.first,
    }


def missing_of(service: Service, spec: TrackerSpec) -> str:
    """Say what a tracker lacks to start, and how the page is started with it; empty where it can start."""
    options = service.settings.tracker_options.get(spec.name, {})
    try:
        check_can_start(spec.name, options, service.runtime, service.plugins)
    except VosError as error:
        first = next(field.name for field in dataclasses.fields(spec.options))
        return f"{' '.join(str(error).split())} Here: vos web -O {spec.name}.{first}=..."
    return ""


def quality_of(service: Service, spec: TrackerSpec) -> str:
    """The quality that a tracker has where a session names none; empty where it has no such option."""
    default = next((field.default for field in dataclasses.fields(spec.options) if field.name == "quality"), "")
    return service.settings.tracker_options.get(spec.name, {}).get("quality", str(default))


def qualities_of(spec: TrackerSpec) -> list[str]:
    """The choices of a tracker's option ``quality``; empty where it has none."""
    fields = {field.name: field for field in dataclasses.fields(spec.options)}
    if "quality" not in fields:
        return []
    hint = typing.get_type_hints(spec.options)["quality"]
    return list(get_args(hint)) if get_origin(hint) is Literal else []
