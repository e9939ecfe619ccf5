"""Real machines in the cloud's network: what they run, what they may, and how they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lofty.agent.uv import find_uv
from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.network import PREFIX, places, sweep
from tests.cloudbox.support import IMAGE, group, machine_policy, role, running, script, template
from tests.conftest import eventually

pytestmark = pytest.mark.cloudbox


def keys(cloud: Cloudbox, bucket: str) -> list[str]:
    found = cloud.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return [one["Key"] for one in found]


def refusal(cloud: Cloudbox, machine: str, command: str) -> str:
    with pytest.raises(RuntimeError) as caught:
        cloud.machine(machine).run(command)
    return str(caught.value).strip().splitlines()[-1]


def launched(cloud: Cloudbox, text: str = "#!/bin/sh\n", **said: Any) -> str:
    """One machine that is not in a group; up, and its user data run."""
    done = cloud.client("ec2").run_instances(
        ImageId=IMAGE, InstanceType="m5.large", MinCount=1, MaxCount=1, UserData=text, **said
    )
    machine = str(done["Instances"][0]["InstanceId"])

    def up() -> bool:
        try:
            return "active" in cloud.machine(machine).run("systemctl is-active first-boot", 5)
        except RuntimeError:
            return False

    eventually(up, 20)
    return machine


def imds(cloud: Cloudbox, machine: str, path: str, token: str = "") -> str:
    """What a machine is told, or the status in place of it."""
    said = f"-H 'X-aws-ec2-metadata-token: {token}'" if token else ""
    return cloud.machine(machine).run(f"curl -s -w ' %{{http_code}}' {said} http://169.254.169.254/latest/{path}")


def new_token(cloud: Cloudbox, machine: str, seconds: int = 60) -> str:
    ttl = f"-X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: {seconds}'"
    return cloud.machine(machine).run(f"curl -s {ttl} http://169.254.169.254/latest/api/token")


def opened(cloud: Cloudbox, group_id: str) -> None:
    """Let ssh in."""
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    cloud.client("ec2").authorize_security_group_ingress(GroupId=group_id, IpPermissions=[rule])


def reached(address: str, seconds: float = 0.5) -> bool:
    try:
        socket.create_connection((address, 22), seconds).close()
    except OSError:
        return False
    return True


def ssh(key: Path, address: str, command: str) -> str:
    quiet = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    words = ["ssh", "-i", str(key), *quiet, "-o", "ConnectTimeout=3", f"ubuntu@{address}", command]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=20).stdout


def test_a_group_of_spot_machines_from_first_boot_to_deadline(cloud: Cloudbox, tmp_path: Path) -> None:
    with cloud.inside():
        ec2, scaling = cloud.client("ec2"), cloud.client("autoscaling")
        cloud.client("s3").create_bucket(Bucket="tasks")
        cloud.client("s3").put_object(Bucket="tasks", Key="other/secret", Body=b"no")
        role(cloud, "machine", machine_policy("tasks", "mine", "task"))
        key = tmp_path / "key"
        key.write_text(ec2.create_key_pair(KeyName="task", KeyType="ed25519")["KeyMaterial"])
        key.chmod(0o600)
        sg = ec2.create_security_group(GroupName="task", Description="ours")["GroupId"]
        profile: dict[str, Any] = {
            "IamInstanceProfile": {"Name": "machine"},
            "KeyName": "task",
            "SecurityGroupIds": [sg],
        }
        launch = template(cloud, script=script(cloud, "tasks", "mine"), **profile)
        group(cloud, launch, size=2)

        # Both run what they were given, with their role
        eventually(lambda: len([key for key in keys(cloud, "tasks") if key.startswith("mine/")]) == 2, 30)
        first, second = running(cloud)
        seen = cloud.machine(first).seen
        assert seen.market == "spot" and seen.type in ("m5.large", "m6i.large")
        eventually(lambda: "user data done" in cloud.machine(first).seen.console)

        assert "user data done" in ec2.get_console_output(InstanceId=first)["Output"]

        # A person reaches one at the address that the API tells
        told = ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]
        assert told["PublicIpAddress"] == seen.public and told["IamInstanceProfile"]["Arn"].endswith("/machine")
        with pytest.raises(subprocess.CalledProcessError):
            ssh(key, seen.public, "true")
        opened(cloud, sg)
        eventually(lambda: reached(seen.public), 5)
        assert ssh(key, seen.public, "sudo hostname").strip() == "ip-" + seen.private.replace(".", "-")
        peer = cloud.machine(second).seen.private
        assert ssh(key, seen.public, f"timeout 3 bash -c 'head -c 3 < /dev/tcp/{peer}/22'") == "SSH"
        with pytest.raises(subprocess.CalledProcessError):
            ssh(key, seen.public, "curl -s -m 2 http://192.0.2.1/")

        # It may do what its role says and no more
        run = cloud.machine(first).run
        assert run("cloud list tasks mine/").count("mine/") == 2
        assert refusal(cloud, first, "cloud get tasks other/secret") == "403 AccessDenied"
        assert refusal(cloud, first, "cloud put tasks other/x text") == "403 AccessDenied"
        assert refusal(cloud, first, "cloud list tasks other/") == "403 AccessDenied"
        assert refusal(cloud, first, "cloud get tasks mine/missing") == "403 AccessDenied"
        assert refusal(cloud, first, "cloud group DescribeAutoScalingGroups") == "403 AccessDenied"
        assert refusal(cloud, first, "cloud group UpdateAutoScalingGroup AutoScalingGroupName=task MaxSize=9").endswith(
            " AccessDenied"
        )
        assert imds(cloud, first, "meta-data/instance-id") == " 401"

        # An interruption: the notice, the cut, a replacement that runs the same
        token = new_token(cloud, first)
        assert imds(cloud, first, "meta-data/spot/instance-action", token).endswith(" 404")
        cloud.machine(first).notice(2.0)
        assert '"action": "terminate"' in imds(cloud, first, "meta-data/spot/instance-action", token)
        eventually(lambda: len([key for key in keys(cloud, "tasks") if key.startswith("mine/")]) == 3, 30)
        assert cloud.machine(first).seen.state == "terminated" and first not in running(cloud)
        reason = ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"][0]["StateReason"]["Code"]
        assert reason == "Server.SpotInstanceTermination"

        # One ends itself: desired lowered first, so it is not replaced
        cloud.machine(second).run("cloud group SetDesiredCapacity AutoScalingGroupName=task DesiredCapacity=2")
        scaling.update_auto_scaling_group(AutoScalingGroupName="task", MaxSize=2)
        cloud.machine(second).run("systemctl --no-block poweroff")
        eventually(lambda: cloud.machine(second).seen.state == "terminated")
        eventually(lambda: len(running(cloud)) == 2)

        # The deadline is the cloud's: it needs nobody
        soon = datetime.now(UTC) + timedelta(seconds=2)
        sizes = {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
        scaling.put_scheduled_update_group_action(
            AutoScalingGroupName="task", ScheduledActionName="deadline", StartTime=soon, **sizes
        )
        eventually(lambda: not scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"], 20)
        assert not scaling.describe_scheduled_actions(AutoScalingGroupName="task")["ScheduledUpdateGroupActions"]
        scaling.delete_auto_scaling_group(AutoScalingGroupName="task")
        eventually(lambda: "group task" not in cloud.leftovers())
        assert not [left for left in cloud.leftovers() if left.startswith(("instance i", "volume"))]


def test_a_machine_is_restarted_unplugged_and_told_to_go(cloud: Cloudbox) -> None:
    with cloud.inside():
        cloud.client("s3").create_bucket(Bucket="tasks")
        role(cloud, "machine", machine_policy("tasks", "mine", "task"))
        time.sleep(cloud.rules.invisible)
        farewell = "trap 'cloud put tasks mine/bye x; exit' TERM; while :; do sleep 0.1 & wait; done"
        service = f"systemd-run -q -p KillMode=mixed /bin/sh -c {json.dumps(farewell)}"
        text = script(cloud, "tasks", "mine").replace('print("user data done")', f"import os; os.system({service!r})")
        machine = launched(cloud, text, IamInstanceProfile={"Name": "machine"})
        run = cloud.machine(machine).run
        assert keys(cloud, "tasks") == [f"mine/{machine}"]

        # The disk stays, user data does not run again
        cloud.client("s3").delete_object(Bucket="tasks", Key=f"mine/{machine}")
        run("echo kept > /root/kept")
        cloud.machine(machine).reboot()
        assert run("cat /root/kept").strip() == "kept" and keys(cloud, "tasks") == ["mine/bye"]
        cloud.client("s3").delete_object(Bucket="tasks", Key="mine/bye")
        assert cloud.machine(machine).seen.state == "running"

        # Security groups, and the cable
        address = cloud.machine(machine).seen.public
        assert not reached(address)
        opened(cloud, cloud.client("ec2").describe_security_groups()["SecurityGroups"][0]["GroupId"])
        eventually(lambda: reached(address), 5)
        cloud.machine(machine).off_network()
        assert not reached(address)
        cloud.machine(machine).on_network()
        assert reached(address, 5)

        # Terminated: the power button first
        run(service)
        time.sleep(0.2)
        cloud.client("ec2").terminate_instances(InstanceIds=[machine])
        eventually(lambda: cloud.machine(machine).seen.state == "terminated")
        assert keys(cloud, "tasks") == ["mine/bye"]


def test_what_a_machine_is_told(cloud: Cloudbox) -> None:
    with cloud.inside():
        role(cloud, "machine", machine_policy("tasks", "mine", "task"))
        cloud.rules.invisible = 0
        cloud.rules.role_credentials = 2
        first = launched(cloud, IamInstanceProfile={"Name": "machine"}, MetadataOptions={"HttpTokens": "required"})
        other = launched(cloud)
        assert imds(cloud, other, "meta-data/instance-id") == f"{other} 200"
        assert imds(cloud, first, "meta-data/instance-id") == " 401"
        token = new_token(cloud, first)
        assert imds(cloud, first, "meta-data/instance-id", token) == f"{first} 200"
        assert imds(cloud, first, "meta-data/instance-id", new_token(cloud, other)) == " 401"
        assert imds(cloud, first, "meta-data/mac", token)[:-4] in cloud.machine(first).run("ip link show eth0")
        assert imds(cloud, first, "meta-data/placement/", token) == "availability-zone\nregion 200"
        assert imds(cloud, first, "meta-data/public-ipv4", token) == f"{cloud.machine(first).seen.public} 200"
        assert imds(cloud, first, "meta-data/instance-life-cycle", token) == "on-demand 200"
        assert imds(cloud, first, "meta-data/events/recommendations/rebalance", token) == " 404"
        cloud.machine(first).rebalance()
        assert "noticeTime" in imds(cloud, first, "meta-data/events/recommendations/rebalance", token)
        assert imds(cloud, other, "meta-data/iam/security-credentials/") == " 404"
        assert imds(cloud, first, "meta-data/iam/security-credentials/", token) == "machine 200"
        credentials = json.loads(imds(cloud, first, "meta-data/iam/security-credentials/machine", token)[:-4])
        time.sleep(1.2)
        renewed = json.loads(imds(cloud, first, "meta-data/iam/security-credentials/machine", token)[:-4])
        assert renewed["AccessKeyId"] != credentials["AccessKeyId"]
        short = new_token(cloud, first, 1)
        time.sleep(1.1)
        assert imds(cloud, first, "meta-data/instance-id", short) == " 401"


def test_machines_install_from_the_index(cloud: Cloudbox, tmp_path: Path) -> None:
    with cloud.inside():
        machine = launched(cloud)
        host = cloud.index_url.split("/")[2].partition(":")[0]
        pip = (
            f"/tmp/v/bin/pip -q install --disable-pip-version-check --index-url {cloud.index_url} --trusted-host {host}"
        )
        run = cloud.machine(machine).run
        assert run(f"python3 -m venv /tmp/v && {pip} tiny-tool && /tmp/v/bin/python -m tiny_tool") == "from the index\n"
        target = ["--no-cache", "--target", str(tmp_path / "target"), "--default-index", cloud.index_url]
        subprocess.run([find_uv(), "pip", "install", "-q", *target, "tiny-tool"], check=True, timeout=30)
        with pytest.raises(RuntimeError, match="No matching distribution"):
            run(f"{pip} other-tool")


def test_the_guard_knows_the_network_by_its_namespace(cloud: Cloudbox, tmp_path: Path) -> None:
    def reach(address: str, port: str) -> bool:
        environ = {**os.environ, **cloud.environ, "LT_GUARD_LOG": str(tmp_path / "refused")}
        program = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
        done = subprocess.run(
            [sys.executable, "-c", program, address, port], env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0 or "may not reach" in done.stderr
        return done.returncode == 0

    host, _, port = cloud.url.removeprefix("http://").partition(":")
    assert not reach(host, port)
    with cloud.inside():
        assert reach(host, port)
        assert not reach("169.254.169.254", "80")
        assert not reach("192.0.2.1", "80")


def test_what_a_killed_run_left_is_swept(cloud: Cloudbox) -> None:
    program = (
        "from tests.cloudbox.cloud import Cloudbox\n"
        "import time\n"
        "with Cloudbox() as cloud:\n"
        "    with cloud.inside():\n"
        "        cloud.client('ec2').run_instances(ImageId='ami-0a1b2c3d4e5f60001', MinCount=1, MaxCount=1,"
        " InstanceType='m5.large')\n"
        "    while not (cloud.machines() and cloud.machines()[0].console): time.sleep(0.1)\n"
        "    print(flush=True)\n"
        "    time.sleep(60)\n"
    )
    root = Path(__file__).parent.parent.parent
    process = subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    owner = f"{PREFIX}-{process.pid}-"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    def left() -> list[Path]:
        return [path for folder in places() for path in folder.glob(f"{owner}*")]

    assert left()
    sweep()
    assert left() == []
    assert owner not in Path("/proc/mounts").read_text()
    with cloud.inside():  # the one that is alive is not touched
        cloud.client("ec2").describe_instances()
