"""Taking things away: an alias that nobody needs, a version that nothing relies on. Numbers are not given again.

What a removed alias named is taken from its nodes by the janitor, as after any change of an alias. Who invokes it
meanwhile fails, and later is told that there is no such alias; so the default alias is not removed.
"""

from typing import Any

from hotswap.deployment import Active, Deployment, Start
from hotswap.errors import NotFound, Refused
from hotswap.model import DEFAULT_ALIAS, Alias, Version, check_alias_name, check_function_name
from hotswap.store import Store, Stored

AT_ONCE = 60
"""Keys that one transaction deletes; etcd takes 128 operations in one."""


class Removing:
    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def alias(self, function: str, name: str) -> Alias:
        """Raises `Refused` while a deployment runs on it."""
        stored = await self._store.aliases.get(check_function_name(function), check_alias_name(name))
        if stored is None:
            raise NotFound(f'"{function}" has no alias "{name}"', hint="see `hotswap functions`")
        if name == DEFAULT_ALIAS:
            raise Refused(
                f'alias "{name}" is what "{function}" alone means: it stays',
                hint=f"give it another version: `hotswap deploy {function} VERSION`",
            )
        if active := await self._store.active.get(function, name):
            raise Refused(
                f'deployment {active.value.deployment} runs on alias "{name}" of "{function}"',
                hint=f"end it first: `hotswap abort {active.value.deployment}`",
            )
        await self._store.transaction().delete(stored).require_absent(Active, function, name).commit()
        return stored.value

    async def version(self, function: str, number: int) -> Version:
        """Raises `Refused` for a version that an alias names, or would go back to, or that a deployment needs."""
        stored = await self._store.versions.get(check_function_name(function), number)
        if stored is None:
            raise NotFound(f'there is no version {number} of "{function}"', hint=f"see `hotswap versions {function}`")
        running = await self._store.active.list(function)
        aliases = await self._store.aliases.list(function)
        await self._refuse_needed(function, number, running, aliases)
        transaction = self._store.transaction().delete(stored)
        if isolated := await self._store.quarantine.get(function, number):
            transaction.delete(isolated)
        for alias in aliases:
            transaction.require(alias)
        transaction.require_none_newer(Alias, function, revision=_newest(aliases))
        transaction.require_none_newer(Active, function, revision=_newest(running))
        await transaction.commit()
        return stored.value

    async def function(self, function: str) -> list[Version]:
        """All of its aliases and versions. What stays is its name with the highest number, which is not given again.

        Aliases go first, so that what is cut off in the middle leaves no alias without its version.
        """
        versions = await self._store.versions.list(check_function_name(function))
        if not versions:
            raise NotFound(f'there is no function "{function}"', hint="see `hotswap functions`")
        if running := await self._store.active.list(function):
            named = running[0].value
            raise Refused(
                f'deployment {named.deployment} runs on alias "{named.alias}" of "{function}"',
                hint=f"end it first: `hotswap abort {named.deployment}`",
            )
        aliases = await self._store.aliases.list(function)
        doomed: list[Stored[Any]] = [
            *aliases,
            *versions,
            *await self._store.quarantine.list(function),
        ]
        for start in range(0, len(doomed), AT_ONCE):
            transaction = self._store.transaction()
            for stored in doomed[start : start + AT_ONCE]:
                transaction.delete(stored)
            transaction.require_none_newer(Alias, function, revision=_newest(aliases))
            transaction.require_none_newer(Active, function, revision=0)
            await transaction.commit()
        return [stored.value for stored in versions]

    async def _refuse_needed(
        self, function: str, number: int, running: list[Stored[Active]], aliases: list[Stored[Alias]]
    ) -> None:
        for one in running:
            deployment = await self._store.deployments.get(one.value.deployment)
            if deployment and number in _needed(deployment.value):
                raise Refused(
                    f'deployment {one.value.deployment} needs version {number} of "{function}"',
                    hint=f"follow it with `hotswap status {one.value.deployment}`",
                )
        for alias in aliases:
            if alias.value.weights.get(number) or alias.value.last_good == number:
                raise Refused(
                    f'alias "{alias.value.name}" of "{function}" gives version {number} traffic, or goes back to it',
                    hint=f"deploy another one there first: `hotswap deploy {function} VERSION "
                    f"--alias {alias.value.name}`",
                )


def _needed(deployment: Deployment) -> set[int]:
    starts = [step.version for step in [*deployment.plan, *deployment.way_back] if isinstance(step, Start)]
    return {deployment.version, *starts, *([deployment.stable] if deployment.stable else [])}


def _newest(stored: list[Stored[Alias]] | list[Stored[Active]]) -> int:
    return max((one.mod_revision for one in stored), default=0)
