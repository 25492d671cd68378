"""JSON Schemas of a lab's files, made from the models that validate them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from lab.layer import Layer
from lab.model.accepted import AcceptedFile
from lab.model.declared import HostEntry, LabEntry, Persona

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas(layers: tuple[Layer, ...]) -> dict[str, dict[str, Any]]:
    """What an editor needs to complete and check each of a lab's files."""
    definitions: dict[str, Any] = {}
    sections: dict[str, Any] = {}
    provider: dict[str, Any] = {"type": "object"}
    for layer in layers:
        schema = _schema(layer.document, definitions, layer.short)
        for name, field in schema.get("properties", {}).items():
            if name == "provider" and _refuses_more(field, definitions):
                provider = field
            elif name in layer.sections:
                sections[name] = field
    persona = _schema(Persona, definitions, "lab")
    host = _schema(HostEntry, definitions, "lab")
    lab = _schema(LabEntry, definitions, "lab")
    overlay = {
        "type": "object",
        "properties": {**host["properties"], **sections},
        "required": host.get("required", []),
        "additionalProperties": False,
    }
    lab["properties"]["providers"] = {"type": "object", "additionalProperties": provider}
    files = {
        "persona": {
            "title": "A persona: what hosts of a kind are for",
            "type": "object",
            "properties": {**persona["properties"], **sections},
            "additionalProperties": False,
        },
        "hosts": {
            "title": "The inventory: hosts, each with its persona",
            "type": "object",
            "properties": {"hosts": {"type": "object", "additionalProperties": overlay}},
            "required": ["hosts"],
            "additionalProperties": False,
        },
        "lab": {**lab, "title": "lab.yaml"},
        "promoted": {
            "title": "What `lab image promote` wrote: persona to what is laid over it",
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": sections,
                "additionalProperties": False,
            },
        },
        "accepted": {
            **_schema(AcceptedFile, definitions, "lab"),
            "title": "What may be on the machines undeclared, and why",
        },
    }
    return {
        name: {"$schema": DIALECT, **body, "$defs": definitions} for name, body in files.items()
    }


def _refuses_more(field: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Whether it is the whole of a provider: the other layers only look at what matters to them."""
    variants = field.get("oneOf", field.get("anyOf", [field]))
    names = [str(v.get("$ref", "")).removeprefix("#/$defs/") for v in variants]
    return all(definitions.get(n, {}).get("additionalProperties") is False for n in names)


def _schema(model: type[BaseModel], definitions: dict[str, Any], owner: str) -> dict[str, Any]:
    """The model's schema; its definitions go to the common ones, under its owner's name."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{owner}.{{model}}")
    for name, definition in schema.pop("$defs", {}).items():
        definitions[f"{owner}.{name}"] = definition
    return schema
