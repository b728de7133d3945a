"""Async twins of the verbs, for servers: each runs its verb on a thread, so that the event loop goes on."""

from __future__ import annotations

from typing import Any

from nearfield.core.hits import HitList, HitLists


class Twins:
    """``await c.asearch(...)`` is ``c.search(...)`` on a thread; kernels and the disk let others run meanwhile."""

    async def _on_thread(self, verb: str, *args: Any, **options: Any) -> Any:
        import asyncio  # takes longer to load than a Collection to open

        return await asyncio.to_thread(getattr(self, verb), *args, **options)

    async def aupsert(self, *args: Any, **options: Any) -> list[Any]:
        """``upsert``."""
        return await self._on_thread("upsert", *args, **options)  # type: ignore[no-any-return]

    async def aadd(self, *args: Any, **options: Any) -> list[Any]:
        """``add``."""
        return await self._on_thread("add", *args, **options)  # type: ignore[no-any-return]

    async def aupdate(self, *args: Any, **options: Any) -> int:
        """``update``."""
        return await self._on_thread("update", *args, **options)  # type: ignore[no-any-return]

    async def adelete(self, *args: Any, **options: Any) -> int:
        """``delete``."""
        return await self._on_thread("delete", *args, **options)  # type: ignore[no-any-return]

    async def aget(self, *args: Any, **options: Any) -> list[Any]:
        """``get``."""
        return await self._on_thread("get", *args, **options)  # type: ignore[no-any-return]

    async def acount(self, *args: Any, **options: Any) -> int:
        """``count``."""
        return await self._on_thread("count", *args, **options)  # type: ignore[no-any-return]

    async def asearch(self, *args: Any, **options: Any) -> HitList | HitLists:
        """``search``; when the task is cancelled, so is the search."""
        import asyncio
        import threading

        stop = options.setdefault("cancel", threading.Event())
        try:
            return await self._on_thread("search", *args, **options)  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            stop.set()
            raise

    async def acompact(self, *args: Any, **options: Any) -> None:
        """``compact``."""
        await self._on_thread("compact", *args, **options)

    async def arecode(self, *args: Any, **options: Any) -> Any:
        """``recode``."""
        return await self._on_thread("recode", *args, **options)

    async def arecall(self, *args: Any, **options: Any) -> Any:
        """``recall``."""
        return await self._on_thread("recall", *args, **options)
