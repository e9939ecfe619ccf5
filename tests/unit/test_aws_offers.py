"""Machines of a region with their prices, and images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from lofty.drivers.aws import images, prices
from lofty.drivers.aws.catalogue import PRICED, PRICED_FROM
from lofty.drivers.aws.images import Image
from lofty.drivers.aws.offers import offers
from lofty.drivers.aws.session import Clients
from lofty.errors import LoftyError, NoOffer, NotLoggedIn, SpecError
from lofty.model.spec import Need

from .aws import Answer, Cloud, Failure

TODAY = datetime.now(UTC).date().isoformat()


def offered(params: Mapping[str, Any]) -> Answer:
    """Every type asked for, in two zones, over two pages; `g4dn.4xlarge` in none."""
    asked = [name for name in params["Filters"][0]["Values"] if name not in ("g4dn.4xlarge", "g4dn.xlareg")]
    zone = "us-east-1b" if "NextToken" in params else "us-east-1a"
    found = [{"InstanceType": name, "LocationType": "availability-zone", "Location": zone} for name in asked]
    return {"InstanceTypeOfferings": found, **({} if "NextToken" in params else {"NextToken": "2"})}


def history(*entries: tuple[str, str, str], minutes: int = 5) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    return {
        "SpotPriceHistory": [
            {"InstanceType": name, "AvailabilityZone": zone, "SpotPrice": usd, "Timestamp": at}
            for name, zone, usd in entries
        ]
    }


def listed(**usd: str) -> Any:
    """The price list: a product for each type, with a row of 0 as reservations have, or nothing."""

    def answer(params: Mapping[str, Any]) -> Answer:
        fields = {one["Field"]: one["Value"] for one in params["Filters"]}
        assert fields["regionCode"] == "us-east-1"
        value = usd.get(fields["instanceType"].replace(".", "_"))
        rows = {"a": {"pricePerUnit": {"USD": "0.0000000000"}}, "b": {"pricePerUnit": {"USD": value}}}
        product = {"product": {}, "terms": {"OnDemand": {"x": {"priceDimensions": rows}}}}
        return {"PriceList": [json.dumps(product)] if value else [], "FormatVersion": "aws_v1"}

    return answer


SPOT = [
    {**history(), "NextToken": "2"},
    {**history(("g4dn.xlarge", "us-east-1a", "0.300000"), minutes=90), "NextToken": "3"},
    {
        **history(
            ("g4dn.xlarge", "us-east-1a", "0.213000"),
            ("g4dn.xlarge", "us-east-1b", "0.216000"),
            ("g4dn.xlarge", "us-east-1f", "0.100000"),
            ("g4dn.2xlarge", "us-east-1b", "0.200000"),
        ),
        "NextToken": "",
    },
]


def test_on_demand_cheapest_first_with_where_each_price_is_from() -> None:
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "GetProducts": listed(t3_medium="0.01")})
    found = offers(cloud, Need())
    told = [(one.machine, one.price and (one.price.usd_per_hour, one.price.source, one.price.date)) for one in found]
    assert told == [
        ("t3.medium", (0.01, "price list of us-east-1", TODAY)),
        ("t3.small", (0.0208, PRICED_FROM, PRICED)),
        ("t3a.small", None),
        ("t3a.medium", None),
    ]
    assert {(one.driver, one.region, one.spot) for one in found} == {("aws", "us-east-1", False)}
    assert (found[0].cpus, found[0].memory) == (2.0, 4.0)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "InternalErrorException"])
def test_a_price_list_that_may_not_be_asked_is_replaced_by_the_table(code: str) -> None:
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "GetProducts": Failure(code, status=500)})
    cheapest = offers(cloud, Need(machine="m"))[0]
    assert cheapest.price is not None
    assert (cheapest.machine, cheapest.price.usd_per_hour, cheapest.price.source) == (
        "m6a.2xlarge", 0.3456, PRICED_FROM,
    )  # fmt: skip


def test_credentials_that_have_run_out_are_no_reason_for_old_prices() -> None:
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "GetProducts": Failure("ExpiredTokenException")})
    with pytest.raises(NotLoggedIn):
        offers(cloud, Need())


def test_spot_takes_the_newest_price_of_each_zone_that_has_the_type() -> None:
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "DescribeSpotPriceHistory": [*SPOT]})
    found = offers(cloud, Need(machine="m+t4", spot=True))
    assert [(one.machine, one.spot, one.gpu, one.gpus) for one in found] == [
        ("g4dn.2xlarge", True, "T4", 1), ("g4dn.xlarge", True, "T4", 1),
    ]  # fmt: skip
    price = found[1].price
    assert price is not None
    assert price.usd_per_hour == 0.213
    assert price.source == "spot price in us-east-1a, up to 0.2160 in other zones"
    assert price.date == TODAY
    assert len(cloud.calls["DescribeSpotPriceHistory"]) == 3, "an empty page with a token is not the last"
    assert cloud.calls["DescribeSpotPriceHistory"][0]["ProductDescriptions"] == ["Linux/UNIX"]
    assert len(cloud.calls["GetProducts"]) == 0


def test_a_highest_price_is_a_ceiling_and_asks_for_no_spot() -> None:
    """What is made is a machine on demand, so that a spot price must not be promised for it."""
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "GetProducts": listed()})
    found = offers(cloud, Need(machine="m+t4", max_price=0.6))
    assert [(one.machine, one.spot) for one in found] == [("g4dn.xlarge", False)]
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "DescribeSpotPriceHistory": [*SPOT]})
    assert {one.spot for one in offers(cloud, Need(machine="m+t4", max_price=0.6, spot=True))} == {True}


def test_with_a_fallback_both_prices_are_known_and_both_are_under_the_ceiling() -> None:
    answers = {"DescribeInstanceTypeOfferings": offered, "GetProducts": listed()}
    need = Need(machine="m+t4", spot=True, fallback=True)
    found = offers(Cloud({**answers, "DescribeSpotPriceHistory": [*SPOT]}), need)
    assert all(one.spot and one.price and one.on_demand for one in found)
    assert all(one.on_demand.usd_per_hour > one.usd_per_hour for one in found if one.on_demand)
    cheap = msgspec.structs.replace(need, max_price=0.6)
    found = offers(Cloud({**answers, "DescribeSpotPriceHistory": [*SPOT]}), cheap)
    assert [one.machine for one in found] == ["g4dn.xlarge"]
    with pytest.raises(NoOffer, match=r"on demand the cheapest machine .* costs 0\.5260 USD/h, above 0\.3") as caught:
        offers(Cloud({**answers, "DescribeSpotPriceHistory": [*SPOT]}), msgspec.structs.replace(need, max_price=0.3))
    assert caught.value.hint == "--max-price 0.5260, or leave --fallback out"


def test_nothing_so_cheap_says_what_the_cheapest_costs() -> None:
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "DescribeSpotPriceHistory": [*SPOT]})
    with pytest.raises(NoOffer, match=r"0\.2000 USD/h, above 0\.01") as caught:
        offers(cloud, Need(machine="m+t4", spot=True, max_price=0.01))
    assert caught.value.hint == "--max-price 0.2000, or a smaller --machine"


def test_what_is_not_sold_as_spot() -> None:
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "DescribeSpotPriceHistory": history()})
    with pytest.raises(NoOffer, match="spot in us-east-1"):
        offers(cloud, Need(machine="m+t4", spot=True))


def test_a_type_that_is_not_in_the_table_is_described_by_aws() -> None:
    told = {
        "InstanceTypes": [
            {
                "InstanceType": "g9.xlarge",
                "VCpuInfo": {"DefaultVCpus": 4},
                "MemoryInfo": {"SizeInMiB": 24576},
                "ProcessorInfo": {"SupportedArchitectures": ["arm64"]},
                "GpuInfo": {"Gpus": [{"Name": "L9", "Count": 2, "MemoryInfo": {"SizeInMiB": 49152}}]},
            }
        ]
    }
    cloud = Cloud(
        {"DescribeInstanceTypeOfferings": offered, "DescribeInstanceTypes": told, "GetProducts": listed(g9_xlarge="2")}
    )
    (one,) = offers(cloud, Need(machine="g9.xlarge"))
    assert (one.cpus, one.memory, one.gpu, one.gpus, one.usd_per_hour) == (4.0, 24.0, "L9", 2, 2.0)
    with pytest.raises(NoOffer, match="4 CPUs") as caught:
        offers(cloud, Need(machine="g9.xlarge", cpus="8"))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("machine", "kind", "hint"),
    [("g4dn.xlareg", SpecError, "--machine g4dn.xlarge"), ("g4dn.4xlarge", NoOffer, "--region us-east-1")],
)
def test_a_type_that_the_region_does_not_have(machine: str, kind: type[LoftyError], hint: str) -> None:
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered})
    with pytest.raises(kind, match=f"us-east-1.*{machine}|{machine}.*us-east-1") as caught:
        offers(cloud, Need(machine=machine))
    assert hint in (caught.value.hint or "")


def test_an_old_gpu_comes_with_a_note() -> None:
    cloud = Cloud({"DescribeInstanceTypeOfferings": offered, "GetProducts": listed()})
    (one,) = offers(cloud, Need(machine="m+v100"))
    assert one.usd_per_hour == 3.06
    assert len(one.notes) == 1
    assert "--image" in one.notes[0]
    (other,) = offers(cloud, Need(machine="m+v100", image="ami-0123456789abcdef0"))
    assert other.notes == ()


def test_no_zone_no_price() -> None:
    assert prices.of_spot([], ["us-east-1a"]) is None


# --- images -------------------------------------------------------------------------------------------------------


def image(
    image_id: str,
    name: str = "x",
    date: str = "2026-01-01",
    arch: str = "x86_64",
    device: str = "/dev/sda1",
    gb: int = 8,
) -> dict[str, Any]:
    disks = [
        {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"},
        {"DeviceName": device, "Ebs": {"VolumeSize": gb}},
    ]
    return {
        "ImageId": image_id, "Name": name, "CreationDate": f"{date}T00:00:00.000Z", "Architecture": arch,
        "RootDeviceName": device, "BlockDeviceMappings": disks,
    }  # fmt: skip


UBUNTU = "/aws/service/canonical/ubuntu/server/{}/stable/current/amd64/hvm/ebs-gp3/ami-id"


def parameters(**values: str) -> Any:
    def answer(params: Mapping[str, Any]) -> Answer:
        found = {UBUNTU.format(version.strip("_").replace("_", ".")): value for version, value in values.items()}
        there = [{"Name": name, "Value": found[name]} for name in params["Names"] if name in found]
        wrong = [name for name in params["Names"] if name not in found]
        return {"Parameters": there, **({"InvalidParameters": wrong} if wrong else {})}

    return answer


def test_an_alias_is_the_publishers_newest_and_is_kept_by_its_id() -> None:
    cloud = Cloud(
        {
            "GetParameters": parameters(_24_04="ami-0000024040", _26_04="ami-0000026040"),
            "DescribeImages": {"Images": [image("ami-0000026040", gb=10)]},
        }
    )
    found = images.resolve(cloud, "", gpu=False, arch="x86_64")
    assert found == Image(id="ami-0000026040", root_device="/dev/sda1", root_gb=10, user="ubuntu", arch="x86_64")
    assert cloud.calls["DescribeImages"] == [{"ImageIds": ["ami-0000026040"]}]


def test_with_a_gpu_the_default_is_the_image_with_its_driver() -> None:
    cloud = Cloud({"GetParameters": {"Parameters": []}, "DescribeImages": {"Images": [image("ami-00000000a1", gb=50)]}})
    assert images.resolve(cloud, "", gpu=True, arch="x86_64").root_gb == 50
    (asked,) = cloud.calls["GetParameters"]
    assert all("/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-" in name for name in asked["Names"])
    assert cloud.calls["DescribeImages"][0]["Owners"] == [images.AMAZON]


@pytest.mark.parametrize("answer", [{"Parameters": []}, Failure("AccessDeniedException"), Failure("x", status=500)])
def test_without_the_parameter_store_an_alias_is_looked_for_by_owner_and_name(answer: Answer) -> None:
    old, new = image("ami-00000001", date="2025-01-01"), image("ami-00000002", date="2026-01-01", arch="arm64")
    looks: list[Answer] = [{"Images": []}, {"Images": [new, old]}]
    cloud = Cloud({"GetParameters": answer, "DescribeImages": looks})
    assert images.resolve(cloud, "ubuntu", gpu=True, arch="arm64").id == "ami-00000002"
    patterns = [one["Filters"][0]["Values"][0] for one in cloud.calls["DescribeImages"]]
    assert ["26.04-arm64" in patterns[0], "24.04-arm64" in patterns[1]] == [True, True]


@pytest.mark.parametrize(
    ("word", "owners", "user"),
    [
        ("me@123456789012:x86_64:my-image-*", ["123456789012"], "me"),
        ("me@*:*:my-image-*", None, "me"),
        ("root@amazon:x86_64:a:b (c) *", ["amazon"], "root"),
    ],
)
def test_the_predecessors_grammar(word: str, owners: list[str] | None, user: str) -> None:
    old, new = image("ami-00000001", date="2025-01-01"), image("ami-00000002", date="2025-06-01")
    cloud = Cloud({"DescribeImages": {"Images": [old, new]}})
    found = images.resolve(cloud, word, gpu=False, arch="x86_64")
    assert (found.id, found.user) == ("ami-00000002", user)
    (asked,) = cloud.calls["DescribeImages"]
    assert asked.get("Owners") == owners
    assert asked["Filters"][0] == {"Name": "name", "Values": [word.split(":", 2)[2]]}
    assert asked["Filters"][1] == {"Name": "architecture", "Values": ["x86_64"]}


@pytest.mark.parametrize(
    ("word", "name", "user"),
    [
        ("ami-0123456789abcdef0", "ubuntu/images/x", "ubuntu"),
        ("ami-0123456789abcdef0", "debian-13-amd64", "admin"),
        ("ami-0123456789abcdef0", "al2023-ami", "ec2-user"),
        ("ann@ami-0123456789abcdef0", "whatever", "ann"),
    ],
)
def test_an_image_by_its_id(word: str, name: str, user: str) -> None:
    cloud = Cloud({"DescribeImages": {"Images": [image("ami-0123456789abcdef0", name, device="/dev/xvda", gb=30)]}})
    found = images.resolve(cloud, word, gpu=False, arch="x86_64")
    assert (found.user, found.root_device, found.root_gb) == (user, "/dev/xvda", 30)


@pytest.mark.parametrize(
    ("word", "answer", "said"),
    [
        ("ubuntu", {"Images": []}, "ubuntu/server/26.04"),
        ("nvidia", {"Images": []}, "Deep Learning Base OSS Nvidia Driver GPU AMI"),
        ("me@self:x86_64:none-*", {"Images": []}, "owner self, x86_64, name none-*"),
        ("ami-0123456789abcdef0", Failure("InvalidAMIID.NotFound"), "searched ami-0123456789abcdef0"),
        ("ami-0123456789abcdef0", {"Images": [image("ami-0123456789abcdef0", arch="arm64")]}, "is arm64"),
        ("me@self:arm64:x", {"Images": []}, "is arm64, and the machine x86_64"),
        ("me@self:mips:x", {"Images": []}, "no architecture"),
        ("windows", {"Images": []}, "no image of AWS"),
        ("me@self", {"Images": []}, "no image of AWS"),
    ],
)
def test_an_image_that_cannot_be_used_is_named_with_what_was_searched(word: str, answer: Answer, said: str) -> None:
    cloud = Cloud({"GetParameters": {"Parameters": []}, "DescribeImages": answer})
    with pytest.raises(SpecError) as caught:
        images.resolve(cloud, word, gpu=False, arch="x86_64")
    assert said in str(caught.value)
    assert caught.value.hint


# --- against moto, which has tables of its own --------------------------------------------------------------------


@pytest.fixture
def moto() -> Iterator[Clients]:
    from moto import mock_aws

    with mock_aws():
        yield Clients({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "HOME": "/nowhere"})


def test_moto_offers_machines_and_describes_unknown_ones(moto: Clients) -> None:
    found = offers(moto, Need(machine="m+t4", spot=True))
    assert [one.machine for one in found] == ["g4dn.xlarge", "g4dn.2xlarge", "g4dn.4xlarge"]
    (one,) = offers(moto, Need(machine="c5d.xlarge", spot=True))
    assert (one.cpus, one.memory) == (4.0, 8.0)


def test_moto_has_no_such_image_and_one_by_its_id(moto: Clients) -> None:
    with pytest.raises(SpecError, match="searched"):
        images.resolve(moto, "me@self:x86_64:none", gpu=False, arch="x86_64")
    any_image = moto.ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]
    found = images.resolve(moto, any_image["ImageId"], gpu=False, arch="x86_64")
    assert found.root_device == any_image["RootDeviceName"]
