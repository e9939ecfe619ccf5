"""What a task's machines are: a role, and the instance profile that ties it to them. Each task has its own; or the
person names one that is there already; or, where the account has no room for another, all tasks share one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ...errors import Forbidden, QuotaExceeded, SpecError
from ..base import Resource
from . import policy
from .patience import Fresh, soon
from .session import Clients, Exists, Gone, translated
from .tags import as_list

SHARED = "lofty-shared"
"""Name of the role, and of its profile, that tasks of an account share where it has no room for one each."""
MARK = {"lofty:role": SHARED}
"""On the launch templates of those tasks, by which `sweep` knows that the role is in use."""
GIVES_UP = (
    "the account has no room for another role, so the machines have the one that lofty's tasks share: each of them "
    "can read and write the files and secrets of every task of lofty in the account, and end its machines"
)
GIVEN = "name an instance profile that an administrator has made: --role NAME; docs/aws.md says what it must allow"
_PROFILE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/(?:[\w+=,.@/-]+/)?([\w+=,.@-]{1,128})")
_NAME = re.compile(r"[\w+=,.@-]{1,128}")


class Identity:
    """Which profile the machines of a task get: settled once its resources have been made."""

    def __init__(self, name: str, *, arn: str = "") -> None:
        self._name, self._arn = name, arn
        self.shared = False

    @property
    def profile(self) -> dict[str, str]:
        """As a launch template names it."""
        return {"Arn": self._arn} if self._arn else {"Name": SHARED if self.shared else self._name}

    @property
    def mark(self) -> dict[str, str]:
        """Tags for a launch template that uses it."""
        return MARK if self.shared else {}


class Role:
    """What whoever has it may do."""

    kind = "role"

    def __init__(self, clients: Clients, name: str, tags: dict[str, str], document: policy.Document) -> None:
        self._clients, self.name, self._tags, self._document = clients, name, tags, document
        self._fresh = Fresh()

    def read(self) -> bool:
        """Whether it exists."""
        try:
            with translated("look at the role"):
                self._clients.iam.get_role_policy(RoleName=self.name, PolicyName="lofty")
        except Gone:
            return False
        return True

    def create(self) -> None:
        """Make it, or find it made."""
        iam = self._clients.iam
        with _or_a_given_one():
            with suppress(Exists), translated("make the role"):
                iam.create_role(
                    RoleName=self.name,
                    AssumeRolePolicyDocument=json.dumps(policy.trust_policy()),
                    Tags=as_list(self._tags),
                )
            self._fresh.made()
            with soon("say what the role may do"):
                iam.put_role_policy(RoleName=self.name, PolicyName="lofty", PolicyDocument=json.dumps(self._document))

    def delete(self) -> None:
        """Remove it; what is gone already is no error."""
        iam = self._clients.iam
        with suppress(Gone), translated("remove the role's rights"):
            iam.delete_role_policy(RoleName=self.name, PolicyName="lofty")
        with self._fresh.believed(), translated("remove the role"):
            iam.delete_role(RoleName=self.name)


class Profile:
    """What ties a role to machines."""

    kind = "instance profile"

    def __init__(self, clients: Clients, name: str, tags: dict[str, str]) -> None:
        self._clients, self.name, self._tags = clients, name, tags
        self._fresh = Fresh()

    def read(self) -> bool:
        """Whether it exists."""
        try:
            with translated("look at the instance profile"):
                found = self._clients.iam.get_instance_profile(InstanceProfileName=self.name)
        except Gone:
            return False
        return bool(found["InstanceProfile"]["Roles"])

    def create(self) -> None:
        """Make it, or find it made."""
        iam = self._clients.iam
        with _or_a_given_one():
            with suppress(Exists), translated("make the instance profile"):
                iam.create_instance_profile(InstanceProfileName=self.name, Tags=as_list(self._tags))
            self._fresh.made()
            try:
                with soon("give the instance profile its role"):
                    iam.add_role_to_instance_profile(InstanceProfileName=self.name, RoleName=self.name)
            except QuotaExceeded:  # it has one, and takes no second: ours, where only an earlier answer was lost
                if not self.read():
                    raise

    def delete(self) -> None:
        """Remove it; what is gone already is no error."""
        iam = self._clients.iam
        with suppress(Gone), translated("take the role from the instance profile"):
            iam.remove_role_from_instance_profile(InstanceProfileName=self.name, RoleName=self.name)
        with self._fresh.believed(), translated("remove the instance profile"):
            iam.delete_instance_profile(InstanceProfileName=self.name)


class TaskRole(Role):
    """One for this task alone; where the account has its fill of roles, the shared one."""

    def __init__(
        self,
        clients: Clients,
        name: str,
        tags: dict[str, str],
        document: policy.Document,
        identity: Identity,
        *,
        may_share: bool = True,
    ) -> None:
        """`may_share`: whether the shared role's rights are enough for it."""
        super().__init__(clients, name, tags, document)
        self._identity, self._may_share = identity, may_share

    @property
    def notes(self) -> Sequence[str]:
        """What a person has to know of how it was made."""
        return (GIVES_UP,) if self._identity.shared else ()

    def create(self) -> None:
        """Make it, or find it made, or find another way."""
        try:
            super().create()
        except QuotaExceeded as error:
            if not self._may_share:
                raise QuotaExceeded(f"{error}; the shared one does not reach --container", hint=GIVEN) from error
            self._share(error)

    def _share(self, full: QuotaExceeded) -> None:
        for one in shared(self._clients):
            try:
                if not one.read():
                    one.create()
            except QuotaExceeded:
                raise QuotaExceeded(str(full), hint=f"{GIVEN}; or ask for more roles, or remove some") from full
        self._identity.shared = True


class TaskProfile(Profile):
    """The profile of such a role: none, where the role is shared."""

    def __init__(self, clients: Clients, name: str, tags: dict[str, str], identity: Identity) -> None:
        super().__init__(clients, name, tags)
        self._identity = identity

    def create(self) -> None:
        """Make it, or find it made."""
        if not self._identity.shared:
            super().create()


class GivenProfile:
    """A profile that the person named: looked at, never changed, never removed."""

    kind = "instance profile"

    def __init__(self, clients: Clients, name: str) -> None:
        self._clients, self.name = clients, name

    def read(self) -> bool:
        """True; it is not for us to make. Raises `SpecError` where it is not there, as far as one may look."""
        try:
            with suppress(Forbidden), translated("look at the instance profile"):
                self._clients.iam.get_instance_profile(InstanceProfileName=self.name)
        except Gone as error:
            raise SpecError(
                f"there is no instance profile '{self.name}'", hint="aws iam list-instance-profiles"
            ) from error
        return True

    def create(self) -> None:
        """Nothing."""

    def delete(self) -> None:
        """Nothing."""


def given(clients: Clients, asked: str) -> tuple[Identity, Resource]:
    """What `--role` names: an instance profile, by name or ARN."""
    found = _PROFILE_ARN.fullmatch(asked)
    if found:
        return Identity(found[1], arn=asked), GivenProfile(clients, found[1])
    if asked.startswith("arn:") or not _NAME.fullmatch(asked):
        what = "is a role" if ":role/" in asked else "is no instance profile"
        raise SpecError(
            f"--role {asked} {what}", hint="--role arn:aws:iam::ACCOUNT:instance-profile/NAME, or its name alone"
        )
    return Identity(asked), GivenProfile(clients, asked)


def shared(clients: Clients) -> list[Role | Profile]:
    """The role that tasks share, and its profile, in the order of creation."""
    tags = {"Name": SHARED, **MARK}
    document = policy.shared_policy(clients.account, clients.partition)
    return [Role(clients, SHARED, tags, document), Profile(clients, SHARED, tags)]


@contextmanager
def _or_a_given_one() -> Iterator[None]:
    """Who may not make roles can name one."""
    try:
        yield
    except Forbidden as error:
        raise Forbidden(str(error), hint=GIVEN) from error
