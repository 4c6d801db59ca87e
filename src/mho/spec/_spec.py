"""The ground of every hardware value: frozen, validated, comparable, hashable."""

from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import core_schema

from ..errors import SpecError
from ._messages import nearest, readable


class Spec(BaseModel):
    """A frozen description. Equal fields make equal, equally hashed specs."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, strict=False
    )

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise SpecError(readable(error, type(self))) from None

    # Nested specs are validated in place, so that an error carries its whole path.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]

    @field_validator("*", mode="before")
    @classmethod
    def _plain_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, float):
            return value + 0.0  # -0.0 equals 0.0, so it must have the same text
        # pydantic reads true as 1.0, so that `output: yes` would be a noise of 1.
        if isinstance(value, bool):
            annotation = cls.model_fields[info.field_name or ""].annotation
            if annotation is not bool and bool not in get_args(annotation):
                raise ValueError("expected a value, not true or false; null switches off")
        return value

    def consequences(self) -> list[tuple[str, str, str]]:
        """Return what follows from several fields, as (path, value, meaning), for `explain`."""
        return []

    def with_fields(self, **changes: Any) -> Self:
        """Return a validated copy with some fields replaced."""
        return type(self)(**{**dict(self), **changes})


def _is_family(cls: type) -> bool:
    # By name: the question comes up while Variant itself is being made.
    return any(base.__name__ == "Variant" for base in cls.__bases__)


class Variant(Spec):
    """A family of specs told apart by `kind`: the family's root is abstract, its members final.

    A member declares `kind: Literal["name"] = "name"` and is known to the family from then on;
    nothing else needs an edit. Where a field is annotated with the root, it accepts a member,
    a mapping with `kind`, or just the kind as text.
    """

    families: ClassVar[dict[str, type["Variant"]]] = {}
    members: ClassVar[dict[str, type["Variant"]]]
    family: ClassVar[str]

    if TYPE_CHECKING:
        # Declared by every member; a family's root has none, and pydantic must not see one here.
        kind: Any

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        kind = cls.model_fields.get("kind")
        if _is_family(cls):
            cls.members, cls.family = {}, cls.__name__.lower()
            Variant.families[cls.family] = cls
        elif kind is not None:
            cls.members[kind.default] = cls

    @classmethod
    def select(cls, value: Any) -> "Variant":
        """Make the member that `value` (a member, a mapping with `kind`, or a kind) stands for."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            raise ValueError(f"expected a mapping with 'kind', got {value!r}")
        kind = value.get("kind")
        member = cls.members.get(str(kind))
        if member is None:
            raise ValueError(
                f"unknown {cls.family} kind {kind!r}{nearest(str(kind), cls.members)}; "
                f"known kinds: {', '.join(sorted(cls.members))}"
            )
        return member.model_validate(value)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        if not _is_family(cls):
            return handler(source)
        return core_schema.no_info_plain_validator_function(
            cls.select,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda member, info: (
                    member.model_dump(mode=info.mode, exclude_defaults=info.exclude_defaults)
                    | ({"kind": member.kind} if info.exclude_defaults else {})
                ),
                info_arg=True,
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        if not _is_family(cls):
            return handler(schema)
        # A mark that `json_schema` replaces: members may live in any later module.
        return {"family": cls.family}
