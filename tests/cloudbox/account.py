"""The account: what moto keeps, and what is known about its things that moto does not keep."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami, AmiBackend
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends

from tests.cloudbox.catalogue import ACCOUNT, REGION, images
from tests.cloudbox.credentials import Keys
from tests.cloudbox.policy import Statement, statements
from tests.cloudbox.rules import Rules


def _load_amis(backend: Any) -> None:
    for image in images():
        backend.amis[image["ami_id"]] = Ami(backend, **{**image, "creation_date": utcnow()})


# moto's own thousands take 14 seconds to load, and none of them is what a person asks for.
setattr(AmiBackend, "_load_amis", _load_amis)  # noqa: B010


class Account:
    """One account in one region. `lock` is held by whoever reads or changes anything in it."""

    def __init__(self) -> None:
        self.rules = Rules()
        self.keys = Keys()
        self.lock = threading.RLock()
        self._born: dict[str, float] = {}
        self._tokens: dict[tuple[str, str], tuple[str, Any]] = {}

    @property
    def ec2(self) -> Any:
        """moto's state; another object after every reset."""
        return ec2_backends[ACCOUNT][REGION]

    @property
    def iam(self) -> Any:
        """moto's state; another object after every reset."""
        return iam_backends[ACCOUNT]["aws"]

    @property
    def s3(self) -> Any:
        """moto's state; another object after every reset."""
        return s3_backends[ACCOUNT]["aws"]

    def reset(self) -> None:
        """Empty it."""
        self._born.clear()
        self._tokens.clear()
        BackendDict.reset()
        reset_model_data()

    # What is too new to be seen

    def born(self, identity: str) -> None:
        """Something was made just now."""
        self._born[identity] = time.monotonic()

    def fresh(self, identity: str) -> bool:
        """Whether something is so new that other parts of the cloud have not heard of it."""
        return time.monotonic() < self._born.get(identity, float("-inf")) + self.rules.invisible

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Without the things that are too new; they are back afterwards, as long as nothing else took their place."""
        ec2 = self.ec2
        shelves = [ec2.launch_templates, ec2.key_pairs, ec2.reservations, *ec2.groups.values()]
        taken = [(shelf, key, shelf.pop(key)) for shelf in shelves for key in list(shelf) if self.fresh(key)]
        names = ec2.launch_template_name_to_ids
        taken += [(names, name, names.pop(name)) for name, key in list(names.items()) if self.fresh(key)]
        try:
            yield
        finally:
            for shelf, key, thing in taken:
                shelf.setdefault(key, thing)

    # Requests sent twice

    def remembered(self, operation: str, token: str, request: str) -> Any:
        """What the first request with this token got, whether it asked the same; none when it is the first."""
        known = self._tokens.get((operation, token)) if token and self.rules.client_tokens else None
        return None if known is None else (known[0] == request, known[1])

    def remember(self, operation: str, token: str, request: str, result: Any) -> None:
        """Keep what a request with a token got."""
        if token:
            self._tokens[operation, token] = (request, result)

    # Roles

    def profile(self, name_or_arn: str) -> Any:
        """An instance profile that the rest of the cloud has heard of; none when there is none."""
        for profile in self.iam.instance_profiles.values():
            if name_or_arn in (profile.name, profile.arn):
                return None if self.fresh(f"profile/{profile.name}") else profile
        return None

    def policy(self, role_name: str) -> list[Statement]:
        """What a role may do; nothing when it is gone, and nothing by a policy that is too new."""
        for role in self.iam.roles.values():
            if role.name == role_name:
                attached = [policy.default_version.document for policy in role.managed_policies.values()]
                own = [text for name, text in role.policies.items() if not self.fresh(f"policy/{role_name}/{name}")]
                return statements([*own, *attached])
        return []
