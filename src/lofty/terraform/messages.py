"""The messages of terraform's plugin protocol 6 (up to 6.8), and of the plugin library beneath it: field numbers only.

The numbers are those of the protocol's definition in terraform's repository (`docs/plugin-protocol`). Fields that
lofty neither reads nor writes are left out.
"""

from __future__ import annotations

from .protobuf import Field, Table

EMPTY = Table()
DYNAMIC = Table(msgpack=Field(1, "bytes"), json=Field(2, "bytes"))
STEP = Table(
    attribute_name=Field(1, "text", "choice"),
    element_key_string=Field(2, "text", "choice"),
    element_key_int=Field(3, "int", "choice"),
)
PATH = Table(steps=Field(1, STEP, "list"))
ERROR, WARNING = 1, 2
DIAGNOSTIC = Table(
    severity=Field(1, "int"), summary=Field(2, "text"), detail=Field(3, "text"), attribute=Field(4, PATH)
)
RAW_STATE = Table(json=Field(1, "bytes"), flatmap=Field(2, "text", "map"))

ATTRIBUTE = Table(
    name=Field(1, "text"),
    type=Field(2, "bytes"),
    description=Field(3, "text"),
    required=Field(4, "bool"),
    optional=Field(5, "bool"),
    computed=Field(6, "bool"),
    sensitive=Field(7, "bool"),
)
NESTING = {"single": 1, "set": 3}
BLOCK = Table(version=Field(1, "int"), attributes=Field(2, ATTRIBUTE, "list"), description=Field(4, "text"))
NESTED = Table(type_name=Field(1, "text"), block=Field(2, BLOCK), nesting=Field(3, "int"), max_items=Field(5, "int"))
BLOCK.add("block_types", Field(3, NESTED, "list"))
SCHEMA = Table(version=Field(1, "int"), block=Field(2, BLOCK))
CAPABILITIES = Table(
    plan_destroy=Field(1, "bool"), get_provider_schema_optional=Field(2, "bool"), move_resource_state=Field(3, "bool")
)
TYPE_NAME = Table(type_name=Field(1, "text"))
IMPORTED = Table(type_name=Field(1, "text"), state=Field(2, DYNAMIC), private=Field(3, "bytes"))

DIAGNOSTICS = Field(1, DIAGNOSTIC, "list")
ONLY_DIAGNOSTICS = Table(diagnostics=DIAGNOSTICS)
VALIDATE = Table(type_name=Field(1, "text"), config=Field(2, DYNAMIC))

PROVIDER: dict[str, tuple[Table, Table]] = {
    "GetMetadata": (
        EMPTY,
        Table(
            server_capabilities=Field(1, CAPABILITIES),
            diagnostics=Field(2, DIAGNOSTIC, "list"),
            data_sources=Field(3, TYPE_NAME, "list"),
            resources=Field(4, TYPE_NAME, "list"),
        ),
    ),
    "GetProviderSchema": (
        EMPTY,
        Table(
            provider=Field(1, SCHEMA),
            resource_schemas=Field(2, SCHEMA, "map"),
            data_source_schemas=Field(3, SCHEMA, "map"),
            diagnostics=Field(4, DIAGNOSTIC, "list"),
            server_capabilities=Field(6, CAPABILITIES),
        ),
    ),
    "ValidateProviderConfig": (Table(config=Field(1, DYNAMIC)), Table(diagnostics=Field(2, DIAGNOSTIC, "list"))),
    "ValidateResourceConfig": (VALIDATE, ONLY_DIAGNOSTICS),
    "ValidateDataResourceConfig": (VALIDATE, ONLY_DIAGNOSTICS),
    "UpgradeResourceState": (
        Table(type_name=Field(1, "text"), version=Field(2, "int"), raw_state=Field(3, RAW_STATE)),
        Table(upgraded_state=Field(1, DYNAMIC), diagnostics=Field(2, DIAGNOSTIC, "list")),
    ),
    "ConfigureProvider": (Table(terraform_version=Field(1, "text"), config=Field(2, DYNAMIC)), ONLY_DIAGNOSTICS),
    "ReadResource": (
        Table(type_name=Field(1, "text"), current_state=Field(2, DYNAMIC), private=Field(3, "bytes")),
        Table(new_state=Field(1, DYNAMIC), diagnostics=Field(2, DIAGNOSTIC, "list"), private=Field(3, "bytes")),
    ),
    "PlanResourceChange": (
        Table(
            type_name=Field(1, "text"),
            prior_state=Field(2, DYNAMIC),
            proposed_new_state=Field(3, DYNAMIC),
            config=Field(4, DYNAMIC),
            prior_private=Field(5, "bytes"),
        ),
        Table(
            planned_state=Field(1, DYNAMIC),
            requires_replace=Field(2, PATH, "list"),
            planned_private=Field(3, "bytes"),
            diagnostics=Field(4, DIAGNOSTIC, "list"),
        ),
    ),
    "ApplyResourceChange": (
        Table(
            type_name=Field(1, "text"),
            prior_state=Field(2, DYNAMIC),
            planned_state=Field(3, DYNAMIC),
            config=Field(4, DYNAMIC),
            planned_private=Field(5, "bytes"),
        ),
        Table(new_state=Field(1, DYNAMIC), private=Field(2, "bytes"), diagnostics=Field(3, DIAGNOSTIC, "list")),
    ),
    "ImportResourceState": (
        Table(type_name=Field(1, "text"), id=Field(2, "text")),
        Table(imported_resources=Field(1, IMPORTED, "list"), diagnostics=Field(2, DIAGNOSTIC, "list")),
    ),
    "MoveResourceState": (
        Table(
            source_provider_address=Field(1, "text"),
            source_type_name=Field(2, "text"),
            source_schema_version=Field(3, "int"),
            source_state=Field(4, RAW_STATE),
            target_type_name=Field(5, "text"),
        ),
        Table(
            target_state=Field(1, DYNAMIC), diagnostics=Field(2, DIAGNOSTIC, "list"), target_private=Field(3, "bytes")
        ),
    ),
    "ReadDataSource": (
        Table(type_name=Field(1, "text"), config=Field(2, DYNAMIC)),
        Table(state=Field(1, DYNAMIC), diagnostics=Field(2, DIAGNOSTIC, "list")),
    ),
    "GetFunctions": (EMPTY, Table(diagnostics=Field(2, DIAGNOSTIC, "list"))),
    "StopProvider": (EMPTY, Table(error=Field(1, "text"))),
}
"""Request and answer of each method of `tfplugin6.Provider`."""

PLUGIN: dict[str, tuple[Table, Table]] = {
    "/plugin.GRPCController/Shutdown": (EMPTY, EMPTY),
    "/grpc.health.v1.Health/Check": (Table(service=Field(1, "text")), Table(status=Field(1, "int"))),
}
"""What the plugin library of terraform asks of every plugin."""
SERVING = 1
