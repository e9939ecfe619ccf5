"""What AWS says went wrong, in lofty's words: one table of error codes, one of reasons why a group got no machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import (
    CapacityError,
    CloudError,
    Forbidden,
    LoftyError,
    NotLoggedIn,
    QuotaExceeded,
    SpecError,
    Throttled,
    Unavailable,
)

LOGIN = (
    "run `aws sso login`, or renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; "
    "then `lofty check --on aws`"
)
RIGHTS = "lofty check --on aws --policy  # prints the rights to ask an administrator for"
ELSEWHERE = "take another --machine or --region, or leave --spot out; `lofty price --on aws` shows what there is"
QUOTA_PAGE = (
    "ask for more at https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas; "
    "`lofty check --on aws` names the quota"
)

THROTTLED_AFTER, BROKEN_AFTER, BUSY_AFTER = 1.0, 2.0, 2.0
"""Seconds to another try. Objects in use are free again after seconds to minutes; the engine backs off from here."""
NEW_ROLE_AFTER = 30.0
"""An account's very first group: its service-linked role works within a minute."""


class Gone(CloudError):
    """The object is not there: on deleting done, soon after creating not there yet."""


class Exists(CloudError):
    """An object of that name is there already."""


_FAMILIES: dict[str, tuple[str, ...]] = {
    "login": (
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed", "TokenRefreshRequired"),
        *("InvalidClientTokenId", "AuthFailure", "SignatureDoesNotMatch", "UnrecognizedClientException"),
        *("InvalidAccessKeyId", "InvalidToken", "IncompleteSignature", "MissingAuthenticationToken"),
        *("MissingAuthenticationTokenException", "InvalidSignatureException"),
    ),
    "denied": (
        *("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403", "Forbidden"),
        *("NotAuthorized", "UnauthorizedAccess"),
    ),
    "closed": ("OptInRequired", "PendingVerification", "Blocked"),
    "throttled": (
        *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException", "RequestThrottled"),
        *("TooManyRequestsException", "ProvisionedThroughputExceededException", "TransactionInProgressException"),
        *("RequestLimitExceeded", "BandwidthLimitExceeded", "LimitExceededException", "SlowDown"),
        *("PriorRequestNotComplete", "EC2ThrottledException"),
    ),
    "quota": (
        *("VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "InstanceLimitExceeded", "LimitExceeded"),
        *("VolumeLimitExceeded", "TooManyBuckets", "SecurityGroupLimitExceeded", "AddressLimitExceeded"),
    ),
    "dry": (
        *("InsufficientInstanceCapacity", "UnfulfillableCapacity", "Unsupported", "InsufficientHostCapacity"),
        *("InsufficientFreeAddressesInSubnet", "InsufficientCapacity", "SpotMaxPriceTooLow"),
    ),
    "busy": (
        *("DependencyViolation", "DeleteConflict", "ResourceInUse", "ScalingActivityInProgress"),
        *("ConcurrentModification", "ConcurrentModificationException", "OperationAborted", "ResourceContention"),
        *("ServiceLinkedRoleFailure", "ConditionalRequestConflict", "IncorrectState", "InvalidGroup.InUse"),
        *("RequestAlreadyInProgress", "UnmodifiableEntity", "EntityTemporarilyUnmodifiable"),
    ),
    "broken": (
        *("InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable"),
        *("RequestTimeout", "ServiceFailure", "Server.InternalError", "ServiceUnavailableException"),
    ),
    "gone": ("404", "NotFound"),
    "exists": ("BucketAlreadyOwnedByYou", "409"),
}
MEANINGS: dict[str, str] = {code: family for family, codes in _FAMILIES.items() for code in codes}
"""AWS's code → its family. Families that many codes share by their form are in `_FORMS`."""
_FORMS = (
    (re.compile(r".+\.NotFound|.+NotFoundException|NoSuch.+|.+NotFound"), "gone"),
    (re.compile(r".+\.Duplicate|.*AlreadyExists|.*AlreadyExistsException"), "exists"),
    (re.compile(r".+Throttl.+"), "throttled"),
    (re.compile(r"Insufficient.+"), "dry"),
    (re.compile(r".+LimitExceeded"), "quota"),
)
_SENTENCES = (
    # Auto Scaling has one code, ValidationError, for nearly everything.
    (re.compile(r"pending delete"), "busy"),
    (re.compile(r"iamInstanceProfile\.(name|arn)"), "busy"),
    (re.compile(r"\bnot found\b|does not exist"), "gone"),
)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Around every call to AWS: botocore's errors become lofty's, chained to the original. `what` is what was being
    done, as in `create the group`."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:  # without boto3 nothing inside comes so far
        yield
        return
    try:
        yield
    except ClientError as error:
        raise _of_answer(what, error) from error
    except BotoCoreError as error:
        raise _of_library(what, error) from error


def code_of(error: BaseException | None) -> str:
    """AWS's own code of a translated error or of botocore's; empty where there is none."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", ""))
        error = error.__cause__
    return ""


def never_reached(error: BaseException) -> bool:
    """Whether a translated error says that there was no connection at all."""
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

    return isinstance(error.__cause__, EndpointConnectionError | ConnectTimeoutError)


def family_of(code: str, message: str = "", status: int = 0) -> str:
    """Which kind of trouble a code is; empty for one that is nobody's but the request's."""
    if code in ("ValidationError", "ValidationException", "AlreadyExists", "InvalidParameterValue"):
        for pattern, family in _SENTENCES:
            if pattern.search(message):
                return family
    if code in MEANINGS:
        return MEANINGS[code]
    for pattern, family in _FORMS:
        if pattern.fullmatch(code):
            return family
    return "throttled" if status == 429 else "broken" if status >= 500 else ""


def _of_answer(what: str, error: Any) -> LoftyError:
    said = error.response.get("Error", {})
    code, message = str(said.get("Code", "")), _clean(str(said.get("Message", "")))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{what}: {message or code or error}"
    family = family_of(code, message, status)
    if family == "denied":
        return _denied(what, code, message, str(error.operation_name))
    makers: dict[str, LoftyError] = {
        "login": NotLoggedIn(f"{what}: AWS does not accept the credentials: {_credentials(code)}", hint=LOGIN),
        "closed": Forbidden(f"{text} ({code})", hint=_CLOSED.get(code, RIGHTS)),
        "throttled": Throttled(f"{what}: too many requests", hint="wait a minute", retry_after=THROTTLED_AFTER),
        "quota": QuotaExceeded(f"{text} ({code})", hint=QUOTA_PAGE),
        "dry": CapacityError(f"{text} ({code})", hint=ELSEWHERE),
        "busy": CloudError(f"{text} ({code})", hint="wait a minute and try again", retry_after=BUSY_AFTER),
        "broken": Unavailable(f"{text} ({code})", hint="wait a minute and try again", retry_after=BROKEN_AFTER),
        "gone": Gone(text, hint="lofty check --on aws"),
        "exists": Exists(text, hint="choose another --name"),
    }
    return makers.get(family) or meaning_of_activity(message) or CloudError(f"{text} ({code})", hint="lofty check")


_CLOSED = {
    "OptInRequired": "enable the region in the AWS console under Account, or take another --region",
    "PendingVerification": "AWS verifies new accounts within hours; otherwise open a case with AWS Support",
    "Blocked": "open a case with AWS Support: the account is blocked",
}


def _credentials(code: str) -> str:
    if code in ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"):
        return "they have expired"
    if code in ("RequestExpired", "RequestTimeTooSkewed"):
        return "they have expired, or the clock of this computer is wrong"
    if code in ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException"):
        return f"they are wrong, or the account has not enabled the region ({code})"
    return f"they are wrong ({code})"


def _denied(what: str, code: str, message: str, operation: str) -> Forbidden:
    """The right by its name: AWS says it in a sentence, or at least which operation it refused."""
    named = re.search(r"not authorized to perform:? ([\w-]+:\w+)", message)
    right = named[1] if named else operation or code
    if "explicit deny" in message:
        source = "a service control policy of the organisation" if "service control" in message else "a policy"
        return Forbidden(
            f"{what}: {right} is forbidden by an explicit deny in {source}",
            hint="ask an administrator: no right of your own can lift it",
        )
    return Forbidden(f"{what}: the right {right} is missing", hint=RIGHTS)


def _clean(message: str) -> str:
    """Without the encoded part that EC2 appends: it may hold the whole request."""
    return " ".join(message.partition("Encoded authorization failure message")[0].split())


def _of_library(what: str, error: Any) -> LoftyError:
    from botocore import exceptions as its

    text = f"{what}: {' '.join(str(error).split())}"
    if isinstance(error, its.NoCredentialsError):
        return NotLoggedIn(f"{what}: there are no AWS credentials here", hint=LOGIN)
    if isinstance(error, its.ProfileNotFound):
        return NotLoggedIn(text, hint="set AWS_PROFILE to one of `aws configure list-profiles`")
    if isinstance(error, its.InvalidRegionError | its.NoRegionError):
        return SpecError(text, hint="--region us-east-1")
    if isinstance(error, its.ParamValidationError):
        return SpecError(text, hint="lofty check --on aws")
    # Before connections: an expired SSO session and an unreachable one are of the same family in botocore.
    names = ("Credential", "Token", "SSO", "Login", "RefreshWithMFA", "ConfigNotFound", "ConfigParse")
    if any(word in type(error).__name__ for word in names):
        return NotLoggedIn(f"{what}: the AWS credentials cannot be used: {error}", hint=LOGIN)
    if isinstance(error, its.HTTPClientError | its.ConnectionError):
        return Unavailable(text, hint="is this computer online, and the --region right?", retry_after=BROKEN_AFTER)
    return CloudError(text, hint="lofty check --on aws")


# --- why a group got no machine -----------------------------------------------------------------------------------

_FREE_PLAN = "upgrade the account from AWS's Free plan, or take a machine of it: --machine t3.small"
_SUPPORT = "open a case with AWS Support: the account is new or not verified"
_ACTIVITIES: tuple[tuple[str, type[LoftyError], str, str, float | None], ...] = (
    (
        r"lower than the minimum required",
        CapacityError, "the spot price is above --max-price", "raise --max-price, or leave it out", None,
    ),
    (r"not eligible for Free Tier", CapacityError, "the Free plan has no such machine", _FREE_PLAN, None),
    (r"VcpuLimitExceeded|vCPU limit of", QuotaExceeded, "the account's limit is reached", QUOTA_PAGE, None),
    (r"MaxSpotInstanceCountExceeded", QuotaExceeded, "the account's limit for spot is reached", QUOTA_PAGE, None),
    (r"InstanceLimitExceeded|VolumeLimitExceeded", QuotaExceeded, "the account's limit is reached", QUOTA_PAGE, None),
    (r"maximum Fleet Requests|currently blocked", Forbidden, "AWS does not let this account start it", _SUPPORT, None),
    (r"PendingVerification", Forbidden, "AWS has yet to verify the account", _SUPPORT, None),
    (
        r"InsufficientInstanceCapacity|do not have sufficient",
        CapacityError, "AWS has no such machine free in the zone", ELSEWHERE, None,
    ),
    (
        r"UnfulfillableCapacity|no Spot capacity",
        CapacityError, "AWS has no such spot machine free", ELSEWHERE, None,
    ),
    (r"not supported in your requested Availability Zone", CapacityError, "the zone lacks it", ELSEWHERE, None),
    (
        r"requested configuration is currently not supported",
        CapacityError, "the zone lacks it, or the image is for another architecture", ELSEWHERE, None,
    ),
    (
        r"iamInstanceProfile\.(name|arn)",
        CloudError, "the machine's role is not known everywhere yet", "wait a minute", BUSY_AFTER,
    ),
    (
        r"Authentication Failure",
        CloudError, "the account's role for Auto Scaling is new", "wait a minute", NEW_ROLE_AFTER,
    ),
    (
        r"Client\.InternalError",
        Forbidden, "the disk's KMS key is closed to Auto Scaling",
        "let the role AWSServiceRoleForAutoScaling use the key of EBS encryption", None,
    ),
    (
        r"InvalidAMIID|Invalid(Group|KeyPair)\.|(image|AMI|security group|key pair)\b.*does not exist",
        Gone, "something that the machine needs is gone", "lofty down the task and make it again", None,
    ),
    (
        r"AuthFailure\.ServiceLinkedRoleCreationNotPermitted|ServiceLinkedRole",
        Forbidden, "the role for spot machines cannot be made",
        "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com", None,
    ),
    (r"UnauthorizedOperation|not authorized to perform", Forbidden, "a right is missing", RIGHTS, None),
    (r"RequestLimitExceeded|Throttling", Throttled, "too many requests", "wait a minute", THROTTLED_AFTER),
)  # fmt: skip
"""What is found in the message, what it is, in our words, what to do, and seconds to another try. In this order:
prices, plans and limits are also said in sentences about capacity."""


def meaning_of_activity(message: str) -> LoftyError | None:
    """Why a scaling activity failed, by its StatusMessage; None for a message that says nothing known. The group goes
    on trying by itself after most of them."""
    for pattern, kind, ours, hint, again in _ACTIVITIES:
        if re.search(pattern, message, re.IGNORECASE):
            said = _clean(message).removesuffix("Launching EC2 instance failed.").strip()
            return kind(f"{ours}: {said}", hint=hint, retry_after=again)
    return None
