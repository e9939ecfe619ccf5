"""Launch templates, instances, capacity, prices and quotas."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.rules import Pool
from tests.cloudbox.support import (
    IMAGE,
    TRUST,
    activities,
    code,
    failure,
    group,
    on_demand,
    patiently,
    role,
    running,
    subnets,
    template,
    words,
)
from tests.conftest import eventually

pytestmark = pytest.mark.cloudbox


# Launch templates and instances


def test_a_new_thing_is_not_found_for_a_while(api: Cloudbox, ec2: Any, scaling: Any) -> None:
    api.rules.invisible = 60
    sg = ec2.create_security_group(GroupName="task", Description="ours")["GroupId"]
    launch = template(api)
    role(api, "machine", [])
    assert code(lambda: ec2.describe_security_groups(GroupIds=[sg])) == "InvalidGroup.NotFound"
    assert not ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["task"]}])["SecurityGroups"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    assert (
        code(lambda: ec2.authorize_security_group_ingress(GroupId=sg, IpPermissions=[rule])) == "InvalidGroup.NotFound"
    )
    assert code(lambda: ec2.create_security_group(GroupName="TASK", Description="again")) == "InvalidGroup.Duplicate"
    said = {"AutoScalingGroupName": "task", "MinSize": 0, "MaxSize": 1, "VPCZoneIdentifier": subnets(api)[0]}

    def create(identity: str) -> Any:
        return scaling.create_auto_scaling_group(**said, LaunchTemplate={"LaunchTemplateId": identity})

    assert "does not exist" in words(lambda: create(launch))
    api.rules.invisible = 0
    launch = template(api, "other", IamInstanceProfile={"Name": "machine"})
    api.rules.invisible = 60
    api.account.born("profile/machine")
    api.account._born.pop(launch)
    assert "Value (machine) for parameter iamInstanceProfile.name is invalid" in words(lambda: create(launch))
    api.rules.invisible = 0
    create(launch)


def test_user_data_has_a_limit(api: Cloudbox, ec2: Any) -> None:
    template(api, script="#" * 16384)
    assert code(lambda: template(api, "big", script="#" * 16385)) == "InvalidUserData.Malformed"
    big = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, "UserData": "#" * 16385}
    assert code(lambda: ec2.run_instances(**big)) == "InvalidParameterValue"
    plain = {"ImageId": IMAGE, "InstanceType": "m5.large", "UserData": "no base64!"}
    refused = code(lambda: ec2.create_launch_template(LaunchTemplateName="plain", LaunchTemplateData=plain))
    assert refused == "InvalidUserData.Malformed"


def test_the_same_token_is_the_same_request(api: Cloudbox, ec2: Any) -> None:
    one = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, "ClientToken": "a"}
    first = ec2.run_instances(**one)["Instances"][0]["InstanceId"]
    assert ec2.run_instances(**one)["Instances"][0]["InstanceId"] == first
    assert code(lambda: ec2.run_instances(**{**one, "MaxCount": 2})) == "IdempotentParameterMismatch"
    data = {"LaunchTemplateName": "task", "LaunchTemplateData": {"ImageId": IMAGE}, "ClientToken": "b"}
    made = [ec2.create_launch_template(**data)["LaunchTemplate"]["LaunchTemplateId"] for _ in range(2)]
    assert made[0] == made[1]
    assert len(api.machines()) == 1


def test_states_last(api: Cloudbox, ec2: Any) -> None:
    def state() -> str:
        """As told; an instance of this very moment is not found at all."""
        return str(ec2.describe_instances()["Reservations"][0]["Instances"][0]["State"]["Name"])

    api.rules.invisible = 0
    api.rules.pending = api.rules.shutting_down = 0.4
    instance = ec2.run_instances(ImageId=IMAGE, InstanceType="m5.large", MinCount=1, MaxCount=1)["Instances"][0]
    assert instance["State"]["Name"] == state() == "pending"
    eventually(lambda: state() == "running", 3)
    assert (
        code(lambda: ec2.terminate_instances(InstanceIds=[instance["InstanceId"], "i-0"]))
        == "InvalidInstanceID.NotFound"
    )
    assert state() == "running"
    ending = ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])["TerminatingInstances"][0]
    assert ending["CurrentState"]["Name"] == state() == "shutting-down"
    eventually(lambda: state() == "terminated", 3)
    assert "Tags" not in ec2.describe_instances()["Reservations"][0]["Instances"][0]
    assert api.leftovers() == []


def test_an_instance_of_this_moment_is_not_found(api: Cloudbox, ec2: Any) -> None:
    said = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    api.rules.invisible = 1
    identity = [ec2.run_instances(**said)["Instances"][0]["InstanceId"]]
    assert code(lambda: ec2.describe_instances(InstanceIds=identity)) == "InvalidInstanceID.NotFound"
    assert code(lambda: ec2.terminate_instances(InstanceIds=identity)) == "InvalidInstanceID.NotFound"
    patiently(lambda: ec2.terminate_instances(InstanceIds=identity))


def test_names_of_roles_and_what_is_not_there(api: Cloudbox, ec2: Any) -> None:
    iam = api.client("iam")
    trust = json.dumps(TRUST)
    role(api, "machine", [])
    for refused, expected in (
        (lambda: iam.create_role(RoleName="MACHINE", AssumeRolePolicyDocument=trust), "EntityAlreadyExists"),
        (lambda: iam.create_role(RoleName="x" * 65, AssumeRolePolicyDocument=trust), "ValidationError"),
        (lambda: iam.create_role(RoleName="x", AssumeRolePolicyDocument="{}"), "MalformedPolicyDocument"),
        (lambda: iam.create_instance_profile(InstanceProfileName="Machine"), "EntityAlreadyExists"),
        (lambda: iam.add_role_to_instance_profile(InstanceProfileName="machine", RoleName="machine"), "LimitExceeded"),
        (lambda: iam.delete_instance_profile(InstanceProfileName="machine"), "DeleteConflict"),
        (lambda: iam.delete_role(RoleName="machine"), "DeleteConflict"),
        (
            lambda: iam.put_role_policy(RoleName="machine", PolicyName="a", PolicyDocument=" " + "x" * 10241),
            "LimitExceeded",
        ),
        (
            lambda: ec2.delete_launch_template(LaunchTemplateName="none"),
            "InvalidLaunchTemplateName.NotFoundException",
        ),
        (lambda: ec2.delete_launch_template(LaunchTemplateId="lt-0"), "InvalidLaunchTemplateId.NotFound"),
        (lambda: ec2.create_tags(Resources=["i-0"], Tags=[{"Key": "a", "Value": "b"}]), "InvalidInstanceID.NotFound"),
        (lambda: ec2.create_security_group(GroupName="sg-a", Description="a"), "InvalidParameterValue"),
        (lambda: ec2.create_security_group(GroupName="a", Description="für"), "InvalidParameterValue"),
    ):
        assert code(refused) == expected


def test_wrong_names_are_refused_when_they_are_used(api: Cloudbox, ec2: Any) -> None:
    def run(**said: Any) -> str:
        whole = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, **said}
        return code(lambda: ec2.run_instances(**whole))

    assert run(ImageId="ami-0123456789abcdef0") == "InvalidAMIID.NotFound"
    assert run(InstanceType="m5.tiny") == "InvalidParameterValue"
    assert run(InstanceType="m7g.large") == "InvalidParameterValue"  # another architecture
    assert run(KeyName="none") == "InvalidKeyPair.NotFound"
    assert run(SecurityGroupIds=["sg-0123456789abcdef0"]) == "InvalidGroup.NotFound"
    assert run(SubnetId="subnet-0") == "InvalidSubnetID.NotFound"
    assert run(IamInstanceProfile={"Name": "none"}) == "InvalidParameterValue"
    small = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 4}}
    assert run(BlockDeviceMappings=[small]) == "InvalidBlockDeviceMapping"


def test_a_group_applies_its_template(api: Cloudbox, ec2: Any) -> None:
    api.rules.invisible = 0
    sg = ec2.create_security_group(GroupName="task", Description="ours")["GroupId"]
    ec2.create_key_pair(KeyName="task", KeyType="ed25519")
    role(api, "machine", [])
    launch = template(
        api,
        KeyName="task",
        IamInstanceProfile={"Name": "machine"},
        NetworkInterfaces=[{"DeviceIndex": 0, "AssociatePublicIpAddress": False, "Groups": [sg]}],
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 30, "VolumeType": "gp3"}}],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "template"}, {"Key": "b", "Value": "b"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "c", "Value": "c"}]},
        ],
    )
    tag = {"Key": "a", "Value": "group", "PropagateAtLaunch": True}
    group(api, launch, size=2, Tags=[tag], MixedInstancesPolicy=on_demand(launch))
    eventually(lambda: len(running(api)) == 2, 5)
    found = [one for part in ec2.describe_instances()["Reservations"] for one in part["Instances"]]
    assert len({one["Placement"]["AvailabilityZone"] for one in found}) == 2
    told = found[0]
    assert told["InstanceType"] == "m5.large" and "InstanceLifecycle" not in told
    assert told["KeyName"] == "task" and told["MetadataOptions"]["HttpTokens"] == "required"
    assert told["IamInstanceProfile"]["Arn"].endswith("instance-profile/machine")
    assert [one["GroupId"] for one in told["SecurityGroups"]] == [sg] and "PublicIpAddress" not in told
    tags = {one["Key"]: one["Value"] for one in told["Tags"]}
    assert (tags["a"], tags["b"], tags["aws:autoscaling:groupName"]) == ("group", "b", "task")
    attribute = ec2.describe_instance_attribute(
        InstanceId=told["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
    )
    assert attribute["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    volume = ec2.describe_volumes()["Volumes"][0]
    assert (volume["Size"], volume["VolumeType"]) == (30, "gp3") and volume["Tags"] == [{"Key": "c", "Value": "c"}]


# Capacity, prices, quotas


def test_dry_pools(api: Cloudbox, ec2: Any, scaling: Any) -> None:
    api.rules.dry = [Pool(market="spot")]
    group(api, template(api), size=1)
    text = failure(scaling)
    assert text.startswith("Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity")
    assert text.endswith("Launching EC2 instance failed.") and not api.machines()
    api.rules.dry = [Pool(type="m?.large", zone="us-east-1[a-e]")]
    eventually(lambda: len(running(api)) == 1, 5)
    assert api.machines()[0].zone == "us-east-1f"
    said = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    text = words(lambda: ec2.run_instances(**said, SubnetId=subnets(api)[1]))
    assert "We currently do not have sufficient m5.large capacity in the Availability Zone you requested" in text
    assert code(lambda: ec2.run_instances(**said, SubnetId=subnets(api)[4])) == "Unsupported"  # zone e never had it


def test_launches_fail_with_any_message(api: Cloudbox, scaling: Any) -> None:
    api.rules.failures = ["Authentication Failure. Launching EC2 instance failed."]
    group(api, template(api), size=1)
    assert failure(scaling) == "Authentication Failure. Launching EC2 instance failed."
    eventually(lambda: len(running(api)) == 1, 5)


def test_quotas(api: Cloudbox, scaling: Any) -> None:
    api.rules.quotas.update({"L-34B43A08": 2, "L-1216C47A": 0})
    launch = template(api)
    group(api, launch, size=2)
    assert "MaxSpotInstanceCountExceeded - Max spot instance count exceeded" in failure(scaling)
    assert len(api.machines()) == 1
    group(api, launch, "steady", MixedInstancesPolicy=on_demand(launch))
    eventually(lambda: any(one["StatusCode"] == "Failed" for one in activities(scaling, "steady")), 5)
    text = activities(scaling, "steady")[0]["StatusMessage"]
    assert "VcpuLimitExceeded - You have requested more vCPU capacity than your current vCPU limit of 0 allows" in text
    quotas = api.client("service-quotas")
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-34B43A08")["Quota"]["Value"] == 2
    unknown = code(lambda: quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-0"))
    assert unknown == "NoSuchResourceException"
    assert scaling.describe_account_limits()["NumberOfAutoScalingGroups"] == 2


def test_prices(api: Cloudbox, ec2: Any, scaling: Any) -> None:
    said = {"InstanceTypes": ["m5.large", "g6.xlarge"], "ProductDescriptions": ["Linux/UNIX"]}
    pages = ec2.get_paginator("describe_spot_price_history").paginate(**said, PaginationConfig={"PageSize": 3})
    history = [one for page in pages for one in page["SpotPriceHistory"]]
    assert len(history) == 10 and len({one["SpotPrice"] for one in history}) > 5
    offer = api.client("pricing").get_products(
        ServiceCode="AmazonEC2", Filters=[{"Type": "TERM_MATCH", "Field": "instanceType", "Value": "g6.xlarge"}]
    )["PriceList"]
    dimension = next(iter(json.loads(offer[0])["terms"]["OnDemand"].values()))["priceDimensions"]
    assert float(next(iter(dimension.values()))["pricePerUnit"]["USD"]) == 0.8048
    launch = template(api)
    policy = on_demand(launch, OnDemandPercentageAboveBaseCapacity=0, SpotMaxPrice="0.01")
    group(api, launch, size=1, MixedInstancesPolicy=policy)
    assert failure(scaling).startswith(
        "Your Spot request price of 0.01 is lower than the minimum required Spot request"
    )


def test_the_free_plan_is_not_told_by_a_dry_run(api: Cloudbox, ec2: Any) -> None:
    api.rules.free_plan = True
    said = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    assert code(lambda: ec2.run_instances(**said, DryRun=True)) == "DryRunOperation"
    assert code(lambda: ec2.run_instances(**said)) == "InvalidParameterCombination"


def test_images_by_their_public_names(api: Cloudbox, ec2: Any) -> None:
    name = "/aws/service/canonical/ubuntu/server/26.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
    image = api.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    found = ec2.describe_images(ImageIds=[image], Owners=["099720109477"])["Images"][0]
    assert found["RootDeviceName"] == "/dev/sda1" and found["Architecture"] == "x86_64"
    assert code(lambda: api.client("ssm").get_parameter(Name="/aws/service/none")) == "ParameterNotFound"
