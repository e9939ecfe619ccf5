"""Words for machines, and the types of AWS that they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.drivers.aws import catalogue
from lofty.drivers.aws.catalogue import TYPES, arch_of, asked_arch, candidates, fits
from lofty.drivers.aws.quotas import page, quota_of
from lofty.errors import LoftyError, NoOffer, SpecError, UsageError
from lofty.model import units
from lofty.model.hardware import SIZES, WORDS
from lofty.model.spec import Need

ARM_IMAGE = "ubuntu@099720109477:arm64:ubuntu*"


def names(need: Need) -> list[str]:
    return [one.name for one in candidates(need)]


@pytest.mark.parametrize(
    ("need", "first", "among"),
    [
        (Need(), "t3.small", "t3.medium"),
        (Need(machine="s"), "t3.small", "t3a.small"),
        (Need(machine="M"), "m6a.2xlarge", "m7i.2xlarge"),
        (Need(machine="l"), "m5.8xlarge", "m6i.8xlarge"),
        (Need(machine="xl"), "m5.16xlarge", "m7i.16xlarge"),
        (Need(machine="m+t4"), "g4dn.xlarge", "g4dn.2xlarge"),
        (Need(machine="l+t4"), "g4dn.12xlarge", "g4dn.12xlarge"),
        (Need(machine="xl+a100"), "p4d.24xlarge", "p4de.24xlarge"),
        (Need(machine="m+h100"), "p5.4xlarge", "p5.4xlarge"),
        (Need(gpu="T4:1"), "g4dn.xlarge", "g4dn.4xlarge"),
        (Need(gpu="t4"), "g4dn.xlarge", "g4dn.4xlarge"),
        (Need(gpu="T4:2"), "g4dn.12xlarge", "g4dn.12xlarge"),
        (Need(gpu="L40S"), "g6e.xlarge", "g6e.2xlarge"),
        (Need(gpu="L4", memory="32+"), "g6.2xlarge", "g6.4xlarge"),
        (Need(machine="m", gpu="A100:8"), "p4d.24xlarge", "p4de.24xlarge"),
        (Need(cpus="8"), "c6i.2xlarge", "m5.2xlarge"),
        (Need(cpus="5+"), "c6i.2xlarge", "m6a.2xlarge"),
        (Need(memory="16+"), "r6i.large", "m5.xlarge"),
        (Need(cpus="4", memory="16"), "m8i.xlarge", "m7i.xlarge"),
        (Need(machine="m", cpus="8+"), "m6a.2xlarge", "m5.2xlarge"),
        (Need(machine="G4dn.xlarge"), "g4dn.xlarge", "g4dn.xlarge"),
        (Need(machine="x9z.mystery"), "x9z.mystery", "x9z.mystery"),
        (Need(machine="x9z.mystery", cpus="8"), "x9z.mystery", "x9z.mystery"),
        (Need(machine="m7g.2xlarge"), "m7g.2xlarge", "m7g.2xlarge"),
        (Need(image=ARM_IMAGE), "t4g.small", "t4g.medium"),
        (Need(machine="m", image=ARM_IMAGE), "m7g.2xlarge", "m7g.2xlarge"),
    ],
)
def test_a_need_and_the_types_for_it(need: Need, first: str, among: str) -> None:
    found = names(need)
    assert found[0] == first
    assert among in found
    assert len(found) == len(set(found)) <= catalogue.MOST


@pytest.mark.parametrize("word", WORDS)
def test_every_word_gives_its_gpu_or_says_what_to_take_instead(word: str) -> None:
    size, _, gpu = word.partition("+")
    if gpu == "k80" or (gpu == "a100" and size in ("s", "m")):
        with pytest.raises(NoOffer) as caught:
            candidates(Need(machine=word))
        assert "--gpu" in (caught.value.hint or "")
        return
    found = candidates(Need(machine=word))
    assert {one.gpu.lower() for one in found} == {gpu}
    assert {one.arch for one in found} == {"x86_64"}


def test_one_dry_pool_does_not_stop_a_launch() -> None:
    for word in (*SIZES, "m+t4", "m+l4", "m+a10g", "l+l4"):
        assert len(candidates(Need(machine=word))) > 1, word


@pytest.mark.parametrize(
    ("need", "kind", "said", "hint"),
    [
        (Need(machine="m+k80"), NoOffer, "no K80", "T4"),
        (Need(gpu="M60"), NoOffer, "no M60", "L4"),
        (Need(machine="p2.xlarge"), NoOffer, "K80", "T4"),
        (Need(machine="g3.4xlarge"), NoOffer, "M60", "T4"),
        (Need(gpu="A100"), NoOffer, "single A100", "A100:8"),
        (Need(gpu="A100:1"), NoOffer, "single A100", "p5.4xlarge"),
        (Need(gpu="A100:16"), NoOffer, "at most 8", "A100:8"),
        (Need(gpu="A10"), SpecError, "did you mean 'A10G'", "A10G:1"),
        (Need(gpu="XYZZY"), SpecError, "unknown GPU", "T4:1"),
        (Need(machine="p3.xlarge"), SpecError, "p3.xlarge", "p3.2xlarge"),
        (Need(machine="huge"), SpecError, "huge", "m+t4"),
        (Need(machine="Standard_NC6"), SpecError, "no type of AWS", "g4dn.xlarge"),
        (Need(machine="n1-standard-4"), SpecError, "no type of AWS", "g4dn.xlarge"),
        (Need(machine="g4dn-xlarge"), SpecError, "did you mean 'g4dn.xlarge'", "g4dn.xlarge"),
        (Need(machine="m+t4", gpu="L4"), SpecError, "two GPUs", "--gpu L4"),
        (Need(cpus="10"), NoOffer, "--cpus 10", "nearest: c6i.2xlarge (8 CPUs"),
        (Need(memory="99999+"), NoOffer, "--memory 99999", "nearest"),
        (Need(machine="m", cpus="4"), NoOffer, "--machine m --cpus 4", "2xlarge"),
        (Need(machine="g4dn.xlarge", cpus="8"), NoOffer, "--cpus 8", "g4dn.xlarge (4 CPUs"),
        (Need(gpu="T4", image=ARM_IMAGE), NoOffer, "arm64", "nearest"),
        (Need(machine="m5.large", image=ARM_IMAGE), SpecError, "arm64", "--image"),
    ],
)
def test_what_there_is_not_is_answered_with_what_there_is(
    need: Need, kind: type[LoftyError], said: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        candidates(need)
    assert said in str(caught.value)
    assert hint in (caught.value.hint or "")


amounts = st.tuples(st.integers(1, 200), st.booleans()).map(lambda one: f"{one[0]}{'+' if one[1] else ''}")
needs = st.builds(
    Need,
    machine=st.sampled_from(["", *WORDS, *TYPES]),
    gpu=st.sampled_from(["", *catalogue.GPU_MODELS, "T4:4", "A100:8", "K80"]),
    cpus=st.just("") | amounts,
    memory=st.just("") | amounts,
    image=st.sampled_from(["", ARM_IMAGE, "nvidia", "ami-0123456789abcdef0"]),
)


@given(needs)
def test_whatever_is_given_fits_what_was_asked_and_an_error_says_what_to_do(need: Need) -> None:
    try:
        found = candidates(need)
    except (UsageError, NoOffer) as error:
        assert error.hint
        return
    assert found
    for one in found:
        assert fits(one, need)
        assert one.arch == (asked_arch(need) or one.arch)
        if need.cpus and not need.cpus.endswith("+"):
            assert one.cpus == units.amount(need.cpus)[0]
        if not one.gpu:
            assert not need.gpu
            assert "+" not in need.machine
    if need.machine not in TYPES and asked_arch(need) != "arm64":
        assert {one.arch for one in found} == {"x86_64"}, "arm64 only when it is asked for"


def test_the_table_is_whole() -> None:
    assert set(catalogue._USD) <= set(TYPES), "every figure belongs to a type"
    assert all(one.known and one.memory for one in TYPES.values())
    assert all(bool(one.gpu) == bool(one.gpus) == bool(one.gpu_memory) for one in TYPES.values())
    assert (TYPES["g4dn.xlarge"].usd, TYPES["p3.16xlarge"].usd) == (0.526, None)
    assert all(name in TYPES for found in catalogue._GENERIC.values() for name in found)


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("m7g.large", "arm64"), ("c6gn.xlarge", "arm64"), ("g5g.xlarge", "arm64"), ("t4g.small", "arm64"),
        ("a1.large", "arm64"), ("im4gn.large", "arm64"), ("x2gd.large", "arm64"), ("g4dn.xlarge", "x86_64"),
        ("g6.xlarge", "x86_64"), ("gr6.4xlarge", "x86_64"), ("p4de.24xlarge", "x86_64"), ("m7i.large", "x86_64"),
        ("u-6tb1.metal", "x86_64"),
    ],
)  # fmt: skip
def test_the_architecture_is_in_the_name(name: str, arch: str) -> None:
    assert arch_of(name) == arch


@pytest.mark.parametrize(
    ("machine", "spot", "code"),
    [
        ("m5.large", False, "L-1216C47A"), ("t3.small", True, "L-34B43A08"), ("g4dn.xlarge", False, "L-DB2E81BA"),
        ("g6e.xlarge", True, "L-3819A6DF"), ("gr6.4xlarge", False, "L-DB2E81BA"), ("vt1.3xlarge", False, "L-DB2E81BA"),
        ("p3.2xlarge", False, "L-417A185B"), ("p5.4xlarge", True, "L-7212CCBC"), ("im4gn.large", False, "L-1216C47A"),
    ],
)  # fmt: skip
def test_the_limit_that_a_type_counts_against(machine: str, spot: bool, code: str) -> None:
    quota = quota_of(machine, spot=spot)
    assert quota is not None
    assert quota.code == code
    assert ("Spot" in quota.name) == spot
    assert page("eu-west-1", quota.code).endswith(code)


@pytest.mark.parametrize("machine", ["trn1.2xlarge", "inf2.xlarge", "f1.2xlarge", "x2gd.large", "?"])
def test_a_limit_that_is_not_known(machine: str) -> None:
    assert quota_of(machine, spot=False) is None
