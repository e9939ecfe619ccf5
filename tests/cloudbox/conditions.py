"""What has to hold before moto does something, and what is remembered after."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from tests.cloudbox.account import Account
from tests.cloudbox.compute import Compute
from tests.cloudbox.protocol import Refused

Params = dict[str, Any]


class Conditions:
    """By `service:Operation`: checks that raise what the service would answer, and notes of what is new."""

    def __init__(self, account: Account, compute: Compute) -> None:
        self._account, self._compute = account, compute
        self.before: dict[str, Callable[[Params], None]] = {
            "ec2:CreateLaunchTemplate": self._template,
            "ec2:CreateLaunchTemplateVersion": self._template,
            "ec2:CreateSecurityGroup": self._security_group,
            "ec2:DeleteSecurityGroup": self._unused,
            "ec2:DeleteLaunchTemplate": self._template_there,
            "ec2:CreateTags": self._things_there,
            "iam:CreateRole": self._role_name,
            "iam:CreateInstanceProfile": self._profile_name,
            "iam:PutRolePolicy": self._policy_size,
            "iam:DeleteInstanceProfile": self._profile_empty,
            "iam:RemoveRoleFromInstanceProfile": self._role_inside,
        }
        self.after: dict[str, Callable[[Params], None]] = {
            "ec2:CreateLaunchTemplate": self._new_template,
            "ec2:CreateSecurityGroup": self._new_group,
            "ec2:CreateKeyPair": lambda params: self._account.born(params["KeyName"]),
            "ec2:ImportKeyPair": lambda params: self._account.born(params["KeyName"]),
            "iam:AddRoleToInstanceProfile": self._new_profile,
            "iam:PutRolePolicy": lambda params: self._account.born(
                f"policy/{params['RoleName']}/{params['PolicyName']}"
            ),
        }

    def _template(self, params: Params) -> None:
        data = params["LaunchTemplateData"]
        try:
            raw = base64.b64decode(data.get("UserData") or "", validate=True)
        except ValueError as error:
            raise Refused("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from error
        limit = self._account.rules.user_data_limit
        if len(raw) > limit:
            raise Refused("InvalidUserData.Malformed", f"User data is limited to {limit} bytes")
        name = params.get("LaunchTemplateName")
        if name is not None and not re.fullmatch(r"[a-zA-Z0-9().\-/_]{3,128}", name):
            raise Refused("InvalidLaunchTemplateName.MalformedException", f"Invalid launch template name: '{name}'")

    def _template_there(self, params: Params) -> None:
        ec2 = self._account.ec2
        if name := params.get("LaunchTemplateName"):
            identity = ec2.launch_template_name_to_ids.get(name)
            if identity is None or self._account.fresh(identity):
                text = f"The specified launch template, with template name {name}, does not exist."
                raise Refused("InvalidLaunchTemplateName.NotFoundException", text)
        else:
            identity = params["LaunchTemplateId"]
            if identity not in ec2.launch_templates or self._account.fresh(identity):
                text = f"The specified launch template, with template ID {identity}, does not exist."
                raise Refused("InvalidLaunchTemplateId.NotFound", text)

    def _things_there(self, params: Params) -> None:
        ec2 = self._account.ec2
        known = {"i": self._compute.lives, "lt": ec2.launch_templates, "vol": ec2.volumes}
        codes = {"i": "InvalidInstanceID", "lt": "InvalidLaunchTemplateId", "vol": "InvalidVolume"}
        for identity in params["Resources"]:
            kind = identity.partition("-")[0]
            if identity not in known.get(kind, (identity,)) or self._account.fresh(identity):
                raise Refused(f"{codes.get(kind, 'InvalidID')}.NotFound", f"The ID '{identity}' does not exist")

    def _role_name(self, params: Params) -> None:
        self._name(params["RoleName"], 64, [role.name for role in self._account.iam.roles.values()], "Role")
        try:
            trust = json.loads(params["AssumeRolePolicyDocument"])["Statement"]
        except (ValueError, KeyError) as error:
            raise Refused("MalformedPolicyDocument", "This policy contains invalid Json") from error
        if "ec2.amazonaws.com" not in json.dumps(trust):
            raise Refused("NotImplemented", "cloudbox knows roles of machines only", 501)

    def _profile_name(self, params: Params) -> None:
        self._name(params["InstanceProfileName"], 128, self._account.iam.instance_profiles, "Instance Profile")

    def _name(self, name: str, most: int, taken: Iterable[str], what: str) -> None:
        """Unique whatever the case."""
        if not re.fullmatch(rf"[\w+=,.@-]{{1,{most}}}", name, re.ASCII):
            raise Refused("ValidationError", f"Value '{name}' failed to satisfy constraint")
        if name.lower() in {other.lower() for other in taken}:
            raise Refused("EntityAlreadyExists", f"{what} with name {name} already exists.", 409)

    def _security_group(self, params: Params) -> None:
        name, text = params["GroupName"], params["Description"]
        if not text.isascii() or not name.isascii() or name.lower().startswith("sg-") or len(name) > 255:
            raise Refused(
                "InvalidParameterValue", f"Value ({name}) for parameter GroupName or its description is invalid."
            )
        network = params.get("VpcId") or self._account.ec2.get_default_vpc().id
        if any(group.name.lower() == name.lower() for group in self._account.ec2.groups[network].values()):
            raise Refused("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{network}'")

    def _unused(self, params: Params) -> None:
        ec2 = self._account.ec2
        named = params.get("GroupId") or params.get("GroupName")
        users = [life for life in self._compute.lives.values() if life.state != "terminated"]
        used = {group.id for life in users for group in life.instance.security_groups}
        found = ec2.get_security_group_by_name_or_id(named)
        if self._account.rules.deletable and found is not None and found.id in used:
            raise Refused("DependencyViolation", f"resource {found.id} has a dependent object")

    def _policy_size(self, params: Params) -> None:
        if len(re.sub(r"\s", "", params["PolicyDocument"])) > 10240:
            raise Refused(
                "LimitExceeded", f"Maximum policy size of 10240 bytes exceeded for role {params['RoleName']}", 409
            )

    def _profile_empty(self, params: Params) -> None:
        profile = self._account.iam.instance_profiles.get(params["InstanceProfileName"])
        if profile is not None and profile.roles:
            raise Refused("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.", 409)

    def _role_inside(self, params: Params) -> None:
        profile, role = params["InstanceProfileName"], params["RoleName"]
        found = self._account.iam.instance_profiles.get(profile)
        if found is not None and role not in {one.name for one in found.roles}:
            text = f"Role {role} in Instance Profile {profile} cannot be found."
            raise Refused("NoSuchEntity", text, 404)

    def _new_template(self, params: Params) -> None:
        self._account.born(self._account.ec2.launch_template_name_to_ids[params["LaunchTemplateName"]])

    def _new_group(self, params: Params) -> None:
        self._account.born(self._account.ec2.get_security_group_from_name(params["GroupName"], params.get("VpcId")).id)

    def _new_profile(self, params: Params) -> None:
        self._account.born(f"profile/{params['InstanceProfileName']}")
