"""Tasks that the provider before lofty has made, which a state may still hold: shown, brought home and removed. Their
machines go on as they were begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...drivers import registry
from ...drivers.base import Heir, Inherited
from ...engine.apply import destroy
from ...errors import LoftyError
from ..schema import Values
from . import identity, results, storage, words

if TYPE_CHECKING:
    from ...api import Client
    from ...progress import Progress
    from ...store.files import Report

END = "end it with the old provider: terraform destroy; or, if it is gone for certain: terraform state rm"


def of(client: Client, state: Values) -> Inherited | None:
    """The task of a state that is not lofty's own; None where nothing is left of it. Raises `LoftyError` where that
    cannot be found out."""
    if state["cloud"] not in words.CLOUDS:
        return None  # the provider before lofty knew no other
    name, text = words.CLOUDS[state["cloud"]], state["id"]
    driver: object = client.driver(name) if name in registry.names() else None
    if not isinstance(driver, Heir):
        raise LoftyError(f"it cannot be looked for on {state['cloud']}", hint=END)
    found = identity.parsed(text)
    own = found.salt + found.check if found else text
    return driver.inherited(state["region"], text, storage.of(state["storage"]).url(own, "") or "")


def shown(old: Inherited) -> Values:
    """What terraform shows of it as it is now; its keys stay what they were."""
    seen = old.observe()
    return {
        "addresses": results.addresses(seen.machines),
        "status": results.status(seen.machines),
        "events": results.events(seen.events),
        "logs": [results.bounded(text) for text in old.logs()],
    }


def brought(client: Client, old: Inherited, state: Values, progress: Progress) -> Report | None:
    """Its outputs, as the block `storage` wants them; None where it wants none."""
    from ...progress import Step
    from ...store import files
    from ...store.base import Store

    place = storage.of(state["storage"])
    how = place.bringing
    if how is None or place.workdir is None:
        return None
    folder = files.folder(
        place.workdir,
        Store(old.files),
        files.memory_of(client.home / "sync" / state["id"], place.workdir, old.files),
        side=client.side,
        plain=True,
        exclude=how.leaving_out(place.exclude),
        git=False,
        watcher=lambda moved: progress(Step("files", moved=moved)),
    )
    return folder.sync("pull", keep=how.keep)


def remove(client: Client, old: Inherited) -> None:
    """Everything of it. Raises `LoftyError` with what could not be removed."""
    if left := destroy(old.resources, client.clock):
        raise LoftyError(f"not removed: {', '.join(left)}", hint="terraform destroy again")
