"""`lofty check --on aws`: who we are, what we may do, and how many machines the account may have. Read-only."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ...errors import AccessError, CloudError, Forbidden, LoftyError, NotLoggedIn, SpecError
from ...model.spec import Need
from ...model.state import Finding
from . import images
from .catalogue import Type, candidates
from .offers import described
from .policy import RIGHTS, Right, filled
from .quotas import Quota, page, quota_of
from .session import Clients, Gone, code_of, translated
from .trouble import RIGHTS as ASK_FOR_RIGHTS

HERE, CAPACITY = 1, 4
"""Exit codes of a finding that is about this computer, or about what AWS gives; about access is the rule."""


def findings(clients: Clients, need: Need) -> list[Finding]:
    """Each line with how to mend it. Nothing is raised: without credentials, or with ones that AWS does not take,
    there is one line that says so."""
    found = [_ssh(clients)]
    try:
        found.append(Finding(ok=True, what=f"region {clients.region}"))
        found.append(Finding(ok=True, what=f"account {clients.account} as {clients.arn}"))
    except LoftyError as error:
        return [*found, _failed(error)]
    for look in (_rights, _limits):
        try:
            found += look(clients, need)
        except LoftyError as error:
            found.append(_failed(error))
    return found


def _failed(error: LoftyError) -> Finding:
    return Finding(ok=False, what=str(error), hint=error.hint or "lofty check --on aws", exit_code=error.exit_code)


def _ssh(clients: Clients) -> Finding:
    tool = shutil.which("ssh", path=clients.environ.get("PATH"))
    if tool:
        return Finding(ok=True, what=f"ssh at {tool}")
    return Finding(ok=False, what="there is no ssh here", hint="apt-get install openssh-client", exit_code=HERE)


# --- rights -------------------------------------------------------------------------------------------------------


class _Lack(NamedTuple):
    """A right that is not there."""

    right: Right
    action: str
    source: str = ""
    """Who forbids it in so many words; empty where nobody allowed it."""


def _rights(clients: Clients, need: Need) -> list[Finding]:
    if clients.arn.endswith(":root"):
        return [Finding(ok=True, what="the account's root may do everything; a user or role of less is safer")]
    try:
        lacks = list(_simulated(clients, _principal(clients)))
        extent = f"all {sum(len(right.actions) for right in RIGHTS)} rights that lofty uses are there"
    except NotLoggedIn:
        raise
    except (Forbidden, CloudError):
        lacks, tried = _tried(clients, need)
        extent = f"the rights for {', '.join(tried)} are there; those of autoscaling, iam and s3 cannot be tried"
    return list(_told(lacks)) or [Finding(ok=True, what=extent)]


def _principal(clients: Clients) -> str:
    """The user or role that stands behind the credentials: the session of a role is not taken for a simulation, and
    the path of its role is not in its name."""
    kind, _, rest = clients.arn.rpartition(":")[2].partition("/")
    if kind == "assumed-role":
        with translated("look at the role behind the credentials"):
            return str(clients.iam.get_role(RoleName=rest.partition("/")[0])["Role"]["Arn"])
    if kind != "user":
        raise CloudError(f"rights of {clients.arn} cannot be simulated")
    return clients.arn


def _simulated(clients: Clients, principal: str) -> Iterator[_Lack]:
    words = {
        "bucket": "lofty-check", "account": clients.account, "region": clients.region, "partition": clients.partition,
    }  # fmt: skip
    for right in RIGHTS:
        if right.sid == "CheckRights":
            continue  # that there is an answer shows it
        asked: dict[str, Any] = {"PolicySourceArn": principal, "ActionNames": list(right.actions)}
        if right.resource != "*":
            asked["ResourceArns"] = [filled(right.resource, **words).replace("*", "check")]
        asked["ContextEntries"] = list(_context(right))
        marker = ""
        while True:
            with translated("ask which rights there are"):
                answer = clients.iam.simulate_principal_policy(**asked, **({"Marker": marker} if marker else {}))
            for result in answer["EvaluationResults"]:
                if result["EvalDecision"] != "allowed":
                    yield _Lack(right, result["EvalActionName"], _source(result))
            marker = answer.get("Marker", "") if answer.get("IsTruncated") else ""
            if not marker:
                break


def _context(right: Right) -> Iterator[dict[str, Any]]:
    """What a right's condition asks for, as if a call of ours had it."""
    for values in (right.condition or {}).values():
        for key, value in values.items():
            first = value if isinstance(value, str) else value[0]
            yield {"ContextKeyName": key, "ContextKeyValues": [first], "ContextKeyType": "string"}


def _source(result: dict[str, Any]) -> str:
    if result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return "a service control policy of the organisation"
    if result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
        return "the permissions boundary"
    return "an explicit deny in a policy" if result["EvalDecision"] == "explicitDeny" else ""


def _tried(clients: Clients, need: Need) -> tuple[list[_Lack], list[str]]:
    """Dry runs of what ec2 is asked for: they say only whether it would be allowed. Gives what is not, and what is."""
    lacks: list[_Lack] = []
    allowed: list[str] = []
    for operation, arguments in _dry_runs(clients, need):
        action = f"ec2:{operation}"
        right = next(one for one in RIGHTS if action in one.actions)
        call = getattr(clients.ec2, _snake(operation))
        try:
            with translated(f"try {action}"):
                call(**arguments, DryRun=True)
        except Forbidden as error:
            lacks.append(_Lack(right, action, "an explicit deny in a policy" if "explicit deny" in str(error) else ""))
        except AccessError:
            raise
        except LoftyError as error:
            # Anything else than this answer was refused for the example's own sake: it tells nothing of rights.
            if code_of(error) == "DryRunOperation":
                allowed.append(action)
    return lacks, allowed


_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f lofty-check"
"""A public key that nobody has the other half of."""


def _dry_runs(clients: Clients, need: Need) -> Iterable[tuple[str, dict[str, Any]]]:
    yield "DescribeInstances", {}
    yield "DescribeSubnets", {}
    yield "DescribeSpotPriceHistory", {}
    yield "CreateSecurityGroup", {"GroupName": "lofty-check", "Description": "lofty check"}
    yield "ImportKeyPair", {"KeyName": "lofty-check", "PublicKeyMaterial": _KEY.encode()}
    data = {"InstanceType": "t3.small"}
    yield "CreateLaunchTemplate", {"LaunchTemplateName": "lofty-check", "LaunchTemplateData": data}
    machine = candidates(need)[0]
    try:
        image = images.resolve(clients, need.image, gpu=bool(machine.gpus), arch=machine.arch)
    except (Forbidden, SpecError):
        return  # a dry run needs a real image
    yield "RunInstances", {"ImageId": image.id, "InstanceType": machine.name, "MinCount": 1, "MaxCount": 1}


def _snake(operation: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")


def _told(lacks: Sequence[_Lack]) -> Iterator[Finding]:
    """A line for each reason, with all the rights that it is the reason for."""
    needed = [lack for lack in lacks if not lack.right.without]
    for source in dict.fromkeys(lack.source for lack in needed):
        names = ", ".join(lack.action for lack in needed if lack.source == source)
        if source:
            yield Finding(ok=False, what=f"forbidden by {source}: {names}", hint="ask an administrator to lift it")
        else:
            yield Finding(ok=False, what=f"missing rights: {names}", hint=ASK_FOR_RIGHTS)
    for lack in lacks:
        if lack.right.without:
            yield Finding(ok=True, what=f"without the right {lack.action}, {lack.right.without}")


# --- limits -------------------------------------------------------------------------------------------------------


def _limits(clients: Clients, need: Need) -> list[Finding]:
    """Whether the account's limits leave room for the machine asked for."""
    by_quota: dict[Quota, list[Type]] = {}
    for one in described(clients, candidates(need)):
        quota = quota_of(one.name, spot=need.spot)
        if quota:
            by_quota.setdefault(quota, []).append(one)
    return [_limit(clients, quota, types) for quota, types in by_quota.items()]


def _limit(clients: Clients, quota: Quota, types: Sequence[Type]) -> Finding:
    try:
        allowed = _value(clients, quota)
    except (Forbidden, CloudError) as error:
        return Finding(ok=True, what=f"the limit '{quota.name}' is not known: {error}")
    what = f"limit '{quota.name}' in {clients.region}: {allowed:g} vCPUs"
    ordered = sorted(types, key=lambda one: one.cpus)
    fitting = [one for one in ordered if one.cpus <= allowed]
    if not fitting:
        small = ordered[0]
        hint = f"ask for {small.cpus} or more at {page(clients.region, quota.code)}"
        return Finding(ok=False, what=f"{what}, and {small.name} needs {small.cpus}", hint=hint, exit_code=CAPACITY)
    beyond = [one.name for one in ordered if one.cpus > allowed]
    rest = f", not for {', '.join(beyond)}" if beyond else ""
    return Finding(ok=True, what=f"{what}, enough for {fitting[-1].name}{rest}")


def _value(clients: Clients, quota: Quota) -> float:
    """The account's own value; where it never had one, AWS's default."""
    asked = {"ServiceCode": "ec2", "QuotaCode": quota.code}
    calls: tuple[Callable[..., Any], ...] = (
        clients.quotas.get_service_quota, clients.quotas.get_aws_default_service_quota,
    )  # fmt: skip
    for last, call in enumerate(calls):
        try:
            with translated("ask for the account's limits"):
                return float(call(**asked)["Quota"]["Value"])
        except Gone:
            if last:
                raise
    raise AssertionError("the last call gives or raises")
