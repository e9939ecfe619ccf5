"""AWS that answers what a test says: real boto3, real parameters and answers of AWS's shapes, and no wire."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.loaders import Loader

from lofty.drivers.aws.session import Clients

ENVIRON = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_EC2_METADATA_DISABLED": "true",
    "HOME": "/nowhere",
    "PATH": "/usr/bin:/bin",
}
"""The endpoint is one where nothing listens: a call that a test has no answer for goes nowhere."""


class Failure(NamedTuple):
    """AWS refuses."""

    code: str
    message: str = "no"
    status: int = 400


_LOADER = Loader(extra_search_paths=[str(Path(boto3.__file__).parent / "data")])
"""Shared: it keeps the descriptions of services that it has read, which takes most of the time of making a client."""

Answer = Mapping[str, Any] | Failure
Say = Callable[[Mapping[str, Any]], Answer]


class Cloud(Clients):
    """`Clients` whose calls are answered by operation: a value for every call, or a list for one after another.
    With an empty endpoint the rest is moto's."""

    def __init__(self, answers: Mapping[str, Answer | list[Answer] | Say], **environ: str) -> None:
        super().__init__({**ENVIRON, **environ})
        self.answers = dict(answers)
        self.calls: dict[str, list[dict[str, Any]]] = defaultdict(list)

    @cached_property
    def _core(self) -> Any:
        core = super()._core
        core.register_component("data_loader", _LOADER)
        return core

    def _client(self, service: str, region: str = "") -> Any:
        new = service not in self._made
        client = super()._client(service, region)
        if new:
            client.meta.events.register_first("before-parameter-build.*.*", self._noted)
            client.meta.events.register_first("before-call.*.*", self._answered)
        return client

    def _noted(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls[model.name].append(dict(params))

    def _answered(self, model: Any, **_: Any) -> Any:
        from botocore.awsrequest import AWSResponse
        from botocore.validate import validate_parameters

        if model.name not in self.answers:
            if not self.environ["AWS_ENDPOINT_URL"]:
                return None  # moto's, which answers in this process
            raise AssertionError(f"{model.name} was not expected: {self.calls[model.name][-1]}")
        answer: Any = self.answers[model.name]
        if callable(answer):
            answer = answer(self.calls[model.name][-1])
        elif isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Failure):
            parsed = {
                "Error": {"Code": answer.code, "Message": answer.message},
                "ResponseMetadata": {"HTTPStatusCode": answer.status},
            }
            return AWSResponse("", answer.status, {}, None), parsed
        validate_parameters(dict(answer), model.output_shape)
        return AWSResponse("", 200, {}, None), {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}
