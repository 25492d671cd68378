"""Models of fields that are imported when a value is there to be read with them.

Most personas use few of the keys that there are; what the rest would be validated with need not be
loaded for them.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Later:
    """In an ``Annotated``: the place of a model, or of a union of some, ``module:Name``.

    Mistakes, their places and the JSON Schema are as if the model itself stood there. A value is
    dumped as what it is: what is no model needs its serializer beside this.
    """

    place: str

    @property
    def model(self) -> Any:
        """It, imported now."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(module), name)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Anything, for the model to say more."""
        return core_schema.with_info_plain_validator_function(self._validate)

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        if info.mode == "json":
            return _adapter(self).validate_json(json.dumps(value), context=info.context)
        return _adapter(self).validate_python(value, context=info.context)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The model's own."""
        return handler(_adapter(self).core_schema)


@cache
def _adapter(field: Later) -> TypeAdapter[Any]:
    return TypeAdapter(field.model)


def later(place: str) -> Any:
    """What stands for the model in annotations; type checkers are shown the model itself."""
    return Annotated[Any, Later(place)]
