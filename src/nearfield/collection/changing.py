"""Fields that come and go while there are rows."""

from __future__ import annotations

from nearfield.collection.state import Settings, State
from nearfield.core.errors import BadInput
from nearfield.store.catalog import Change
from nearfield.store.fields import Field, check_fields, known_field


def add_field(state: State, settings: Settings, name: str, field: Field) -> None:
    """A further field, which no row has a vector in yet."""
    check_fields({name: field})
    with state.writing() as snapshot:
        if name in snapshot.names:
            raise BadInput(f"field: expected a new name, got {name!r}, which is there")
        fields = state.catalog.get("fields", {})
        fields[str(snapshot.head.fields)] = {"name": name, "field": field.within(settings.metric).record()}
        state.commit(Change(manifest={"fields": fields}, new_generation=True, new_fields=1))


def drop_field(state: State, name: str) -> None:
    """A field with all its vectors goes; ``compact`` gives their space back."""
    with state.writing() as snapshot:
        number = str(snapshot.names[known_field(name, snapshot.names)])
        fields = {k: v for k, v in state.catalog.get("fields", {}).items() if k != number}
        plans = {k: v for k, v in snapshot.plans.items() if k != number}
        state.commit(Change(manifest={"fields": fields, "plans": plans}, new_generation=True))
