"""`framework.graph.validator`: checks of a node's output, for custom nodes. The engine itself has no use for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

MAX_LENGTH = 50_000
"""Characters of one value."""

_PROGRAM_LINE = re.compile(
    r"(def \w+\(.*\).*:|class \w+.*:|import [\w., ]+|from [\w.]+ import .+|(const|let|var) \w+ = .+|"
    r"(export )?(async )?function \w+\(.*|#include .+)$"
)
_PROGRAM_LINES = 2


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Whether an output passed, and everything that is wrong with it."""

    success: bool
    errors: list[str]

    @property
    def error(self) -> str:
        """The errors as one text."""
        return "; ".join(self.errors)


class OutputValidator:
    """Checks outputs. No check changes the output."""

    def validate_output_keys(
        self,
        output: Mapping[str, Any],
        expected_keys: Iterable[str],
        allow_empty: bool = False,
        nullable_keys: Iterable[str] | None = None,
    ) -> ValidationResult:
        """Check that the keys are set; the nullable ones may be missing or empty."""
        nullable = frozenset(nullable_keys or ())
        errors = []
        for key in expected_keys:
            if key in nullable:
                continue
            if key not in output:
                errors.append(f"the key {key!r} is missing")
            elif not allow_empty and output[key] in (None, ""):
                errors.append(f"the key {key!r} is empty")
        return _result(errors)

    def validate_with_pydantic(
        self, output: Mapping[str, Any], model: type[BaseModel]
    ) -> tuple[ValidationResult, BaseModel | None]:
        """Check the output against a model; return the result and, if it fits, the model's object."""
        try:
            return _result([]), model.model_validate(dict(output))
        except ValidationError as error:
            return _result([_sentence(detail) for detail in error.errors()]), None

    def format_validation_feedback(
        self, validation_result: ValidationResult, model: type[BaseModel]
    ) -> str:
        """Write what a language model should be told, so that it corrects its output."""
        schema = model.model_json_schema()
        required = ", ".join(schema.get("required", ())) or "none"
        fields = ", ".join(schema.get("properties", {}))
        errors = "\n".join(f"- {error}" for error in validation_result.errors)
        return (
            f"The output does not fit {model.__name__}. Errors:\n{errors}\n"
            f"Fields: {fields}. Required: {required}. Answer again with valid JSON."
        )

    def validate_no_hallucination(
        self, output: Mapping[str, Any], max_length: int = MAX_LENGTH
    ) -> ValidationResult:
        """Check that no text is too long or is a program where prose was wanted.

        A program is a text of which at least two lines are statements; prose that mentions code is none.
        """
        errors = []
        for key, value in output.items():
            if not isinstance(value, str):
                continue
            if len(value) > max_length:
                errors.append(
                    f"the key {key!r} has {len(value):,} characters, at most {max_length:,}"
                )
            elif _is_program(value):
                errors.append(f"the key {key!r} holds program code")
        return _result(errors)


def _result(errors: list[str]) -> ValidationResult:
    return ValidationResult(not errors, errors)


def _sentence(detail: Any) -> str:
    where = ".".join(str(step) for step in detail["loc"])
    return f"{where}: {detail['msg']}" if where else str(detail["msg"])


def _is_program(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines())
    return sum(_PROGRAM_LINE.match(line) is not None for line in lines) >= _PROGRAM_LINES
