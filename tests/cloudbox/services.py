"""Operations that are answered here because moto does not have them or answers them too kindly.

An operation of the compute services that nobody has compared with the real one is refused: a product tested against
a guess would be tuned to the guess.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moto.core.utils import utcnow

from tests.cloudbox.account import Account
from tests.cloudbox.catalogue import PARAMETERS, PRICES, QUOTAS, REGION, spot_price, types, zones_of
from tests.cloudbox.compute import Compute, Life
from tests.cloudbox.groups import Groups
from tests.cloudbox.launch import merged, wanted
from tests.cloudbox.policy import allows
from tests.cloudbox.protocol import Refused

Params = dict[str, Any]

BY_MOTO = {
    "ec2": {
        "AuthorizeSecurityGroupEgress",
        "AuthorizeSecurityGroupIngress",
        "CreateKeyPair",
        "CreateLaunchTemplate",
        "CreateLaunchTemplateVersion",
        "CreateSecurityGroup",
        "CreateTags",
        "DeleteKeyPair",
        "DeleteLaunchTemplate",
        "DeleteSecurityGroup",
        "DeleteTags",
        "DeleteVolume",
        "DescribeAvailabilityZones",
        "DescribeImages",
        "DescribeInstanceAttribute",
        "DescribeInstanceStatus",
        "DescribeInstanceTypeOfferings",
        "DescribeInstanceTypes",
        "DescribeInstances",
        "DescribeKeyPairs",
        "DescribeLaunchTemplateVersions",
        "DescribeLaunchTemplates",
        "DescribeNetworkInterfaces",
        "DescribeRegions",
        "DescribeSecurityGroupRules",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeTags",
        "DescribeVolumes",
        "DescribeVpcs",
        "ImportKeyPair",
        "ModifyLaunchTemplate",
        "RevokeSecurityGroupIngress",
    },
    "iam": {
        "AddRoleToInstanceProfile",
        "CreateInstanceProfile",
        "CreateRole",
        "CreateServiceLinkedRole",
        "DeleteInstanceProfile",
        "DeleteRole",
        "DeleteRolePolicy",
        "GetInstanceProfile",
        "GetRole",
        "GetRolePolicy",
        "ListAttachedRolePolicies",
        "ListInstanceProfiles",
        "ListInstanceProfilesForRole",
        "ListRolePolicies",
        "ListRoleTags",
        "ListRoles",
        "PutRolePolicy",
        "RemoveRoleFromInstanceProfile",
        "TagInstanceProfile",
        "TagRole",
        "UpdateAssumeRolePolicy",
    },
    "sts": set[str](),
    "ssm": {"GetParameter", "GetParameters"},
}


class Services:
    """Operations by `service:Operation`."""

    def __init__(self, account: Account, compute: Compute, groups: Groups) -> None:
        self._account, self._compute, self._groups = account, compute, groups
        self.caller = ""
        """Who asks, for the one operation that tells."""
        self.own: dict[str, Callable[[Params], Any]] = {
            "ec2:RunInstances": self.run_instances,
            "ec2:TerminateInstances": self.terminate_instances,
            "ec2:StopInstances": self.stop_instances,
            "ec2:RebootInstances": self.reboot_instances,
            "ec2:GetConsoleOutput": self.console,
            "ec2:DescribeSpotPriceHistory": self.spot_prices,
            "ssm:GetParameter": self.parameter,
            "ssm:GetParameters": self.parameters,
            "iam:SimulatePrincipalPolicy": self.simulate,
            "sts:GetCallerIdentity": self.identity,
            "pricing:GetProducts": self.products,
            "service-quotas:GetServiceQuota": self.quota,
            "service-quotas:GetAWSDefaultServiceQuota": self.quota,
            "service-quotas:ListServiceQuotas": self.quotas,
            **{f"autoscaling:{name}": do for name, do in groups.operations.items()},
        }
        self.once = {"ec2:RunInstances", "ec2:CreateLaunchTemplate", "ec2:CreateLaunchTemplateVersion"}
        """Operations that take a ClientToken."""

    def known(self, service: str, operation: str) -> bool:
        """Whether an operation has been compared with the real one; those of objects are all moto's."""
        if f"{service}:{operation}" in self.own or service == "s3":
            return True
        return operation in BY_MOTO.get(service, ())

    # Instances

    def run_instances(self, params: Params) -> Any:
        data = params
        if named := params.get("LaunchTemplate"):
            data = merged(self._groups.scaling.data({"LaunchTemplate": named}), params)
        if params["MinCount"] > params["MaxCount"]:
            raise Refused("InvalidParameterValue", "The minimum count must not be above the maximum count.")
        launch = wanted(data)
        lives: list[Life] = []
        for _ in range(params["MaxCount"]):
            try:
                lives.append(self._compute.launch(launch))
            except Refused:
                if len(lives) < params["MinCount"]:
                    for life in lives:
                        self._compute.end(life)
                    raise
                break
        first = lives[0].instance.reservation
        for life in lives[1:]:  # one request is one reservation
            del self._account.ec2.reservations[life.instance.reservation.id]
            first.instances.append(life.instance)
        return first

    def terminate_instances(self, params: Params) -> Params:
        return {"TerminatingInstances": self._end(params, "terminated")}

    def stop_instances(self, params: Params) -> Params:
        lives = [self._compute.find(identity) for identity in params["InstanceIds"]]
        if any(life.market == "spot" for life in lives):
            raise Refused(
                "UnsupportedOperation",
                "You can't stop the Spot Instance because it is associated with a one-time Spot Instance request.",
            )
        return {"StoppingInstances": self._end(params, "stopped")}

    def _end(self, params: Params, goal: str) -> list[Params]:
        lives = [self._compute.find(identity) for identity in params["InstanceIds"]]  # one bad id fails all
        told = []
        for life in lives:
            before = {"Name": life.state, "Code": life.instance.state_code}
            self._compute.end(life, goal=goal)
            after = {"Name": life.state, "Code": life.instance.state_code}
            told.append({"InstanceId": life.id, "PreviousState": before, "CurrentState": after})
        return told

    def reboot_instances(self, params: Params) -> Params:
        for life in [self._compute.find(identity) for identity in params["InstanceIds"]]:
            if life.machine and life.machine.leader() is not None:
                life.machine.reboot()
        return {}

    def console(self, params: Params) -> Params:
        life = self._compute.find(params["InstanceId"])
        text = life.machine.console() if life.machine else life.console
        output = base64.b64encode(text[-65536:].encode()).decode()
        return {"InstanceId": life.id, "Timestamp": utcnow(), "Output": output}

    # Prices and quotas

    def spot_prices(self, params: Params) -> Params:
        kinds = params.get("InstanceTypes") or list(PRICES)
        zone = params.get("AvailabilityZone")
        products = params.get("ProductDescriptions") or ["Linux/UNIX"]
        for rule in params.get("Filters") or []:
            if rule["Name"] == "instance-type":
                kinds = [kind for kind in kinds if kind in rule["Values"]]
            elif rule["Name"] == "product-description":
                products = rule["Values"]
            elif rule["Name"] == "availability-zone":
                zone = rule["Values"][0]
            else:
                raise Refused("InvalidParameterValue", f"The filter '{rule['Name']}' is invalid")
        if "Linux/UNIX" not in products:
            return {"SpotPriceHistory": [], "NextToken": ""}
        found = [
            {
                "AvailabilityZone": one,
                "InstanceType": kind,
                "ProductDescription": "Linux/UNIX",
                "SpotPrice": f"{price:.6f}",
                "Timestamp": utcnow(),
            }
            for kind in kinds
            for one in zones_of(kind)
            if (price := spot_price(kind, one)) and zone in (None, one)
        ]
        first = int(params.get("NextToken") or 0)
        last = first + int(params.get("MaxResults") or 1000)
        return {"SpotPriceHistory": found[first:last], "NextToken": str(last) if last < len(found) else ""}

    def products(self, params: Params) -> Params:
        if params["ServiceCode"] != "AmazonEC2":
            raise Refused("NotFoundException", f"The service {params['ServiceCode']} is not found")
        asked = {one["Field"]: one["Value"] for one in params.get("Filters") or []}
        found = []
        for kind, price in PRICES.items():
            facts = types()[kind]
            attributes = {
                "instanceType": kind,
                "regionCode": REGION,
                "operatingSystem": "Linux",
                "tenancy": "Shared",
                "preInstalledSw": "NA",
                "capacitystatus": "Used",
                "vcpu": str(facts["VCpuInfo"]["DefaultVCpus"]),
                "memory": f"{facts['MemoryInfo']['SizeInMiB'] / 1024:g} GiB",
            }
            if all(attributes.get(field) == value for field, value in asked.items()):
                found.append(json.dumps(_product(attributes, price)))
        first = int(params.get("NextToken") or 0)
        last = first + min(int(params.get("MaxResults") or 100), 100)
        more = {"NextToken": str(last)} if last < len(found) else {}
        return {"FormatVersion": "aws_v1", "PriceList": found[first:last], **more}

    def quotas(self, params: Params) -> Params:
        self._ec2_only(params)
        return {"Quotas": [self._quota(code) for code, _ in QUOTAS.values()]}

    def quota(self, params: Params) -> Params:
        self._ec2_only(params)
        return {"Quota": self._quota(params["QuotaCode"])}

    def _ec2_only(self, params: Params) -> None:
        if params["ServiceCode"] != "ec2":
            raise Refused("NoSuchResourceException", "The request failed because the specified service does not exist.")

    def _quota(self, code: str) -> Params:
        names = dict(QUOTAS.values())
        if code not in names:
            text = "The request failed because the specified service quota does not exist."
            raise Refused("NoSuchResourceException", text)
        return {
            "ServiceCode": "ec2",
            "QuotaCode": code,
            "QuotaName": names[code],
            "Value": float(self._account.rules.quotas[code]),
            "Unit": "None",
            "Adjustable": True,
        }

    # Parameters, roles, identity

    def parameter(self, params: Params) -> Params:
        name = params["Name"]
        if name not in PARAMETERS:
            raise Refused("ParameterNotFound", "")
        return {"Parameter": _parameter(name)}

    def parameters(self, params: Params) -> Params:
        names = params["Names"]
        return {
            "Parameters": [_parameter(name) for name in names if name in PARAMETERS],
            "InvalidParameters": [name for name in names if name not in PARAMETERS],
        }

    def simulate(self, params: Params) -> Params:
        source = params["PolicySourceArn"]
        if ":assumed-role/" in source:
            raise Refused("InvalidInput", f"Invalid Entity Arn: {source} does not clearly define entity type and name.")
        person = self._account.rules.person
        policy = self._account.policy(source.rpartition("/")[2]) if ":role/" in source else person
        context = {one["ContextKeyName"]: one["ContextKeyValues"][0] for one in params.get("ContextEntries") or []}
        results = [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": "allowed" if allows(policy, action, resource, context) else "implicitDeny",
            }
            for action in params["ActionNames"]
            for resource in params.get("ResourceArns") or ["*"]
        ]
        return {"EvaluationResults": results, "IsTruncated": False}

    def identity(self, _: Params) -> Params:
        account = self.caller.split(":")[4]
        return {"UserId": self.caller.rpartition("/")[2], "Account": account, "Arn": self.caller}


def _parameter(name: str) -> Params:
    return {
        "Name": name,
        "Type": "String",
        "Value": PARAMETERS[name],
        "Version": 1,
        "LastModifiedDate": datetime(2026, 9, 1, tzinfo=UTC),
        "ARN": f"arn:aws:ssm:{REGION}::parameter{name}",
        "DataType": "aws:ec2:image",
    }


def _product(attributes: dict[str, str], price: float) -> Params:
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": f"{price:.10f}"}, "description": "per On Demand Linux hour"}
    sku = attributes["instanceType"].replace(".", "").upper()
    return {
        "product": {"productFamily": "Compute Instance", "attributes": attributes, "sku": sku},
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": {"priceDimensions": {f"{sku}.JRTCKXETXF.6YS6EN2CT7": dimension}}}},
    }
