"""The Python functions an experiment calls: that they exist, take these arguments, and, where they
are actions of ours, that what they ask for can be done to what they select.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stormgate.documents.components import CHOOSING
from stormgate.documents.problems import nearest
from stormgate.documents.signatures import module as module_of
from stormgate.documents.signatures import signature as signature_of
from stormgate.documents.trial.checking import OURS, Check
from stormgate.documents.trial.drivers import check_driver
from stormgate.documents.yamlfile import Loc
from stormgate.faults import backends
from stormgate.faults.asked import ACTIONS, MODULE, OWN, PROBES, SECONDS, SHAPES, Action
from stormgate.faults.declared import Parameters, misfit
from stormgate.faults.errors import CannotBreak
from stormgate.faults.expansion import links, parts_of

MOST_TURNS = 1000


def check_python(provider: Mapping[str, Any], loc: Loc, check: Check) -> None:
    """Note what is wrong with a provider of type python. `loc` is the provider's place."""
    module, func = str(provider.get("module", "")), str(provider.get("func", ""))
    ours = module.startswith(OURS)
    arguments = provider.get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    resolved = {
        key: check.resolve(value, (*loc, "arguments", key), ours=ours)
        for key, value in given.items()
    }
    known = module_of(module, check.root)
    if known is None:
        if ours:
            check.note(f"there is no module {module!r}", "check its name", *loc, "module")
        return  # whether it can be imported, and what it offers, Chaos Toolkit itself will say
    signature = signature_of(func, known, check.root)
    if signature is None:
        if ours:
            fix = nearest(func, known.names, what="it has")
            check.note(f"module {module} has no function {func!r}", fix, *loc, "func")
        return
    for key in given:
        if key not in signature.arguments and not signature.open_ended:
            fix = nearest(key, signature.arguments, what="it takes")
            check.note(f"{func} takes no argument {key!r}", fix, *loc, "arguments", key)
    missing = [key for key in signature.required if key not in given]
    for key in missing:
        check.note(
            f"{func} needs argument {key!r}", f"add arguments: {{{key}: …}}", *loc, "arguments"
        )
    check_driver(module, func, resolved, loc, check)
    if module == MODULE and func in ACTIONS and not missing:
        _check_action(func, resolved, loc, check)


def _check_action(func: str, arguments: Mapping[str, Any], loc: Loc, check: Check) -> None:
    action = ACTIONS[func]
    _check_seconds(func, arguments, loc, check)
    if func == "until" and isinstance(probe := arguments.get("probe"), dict):
        check_python({"module": PROBES, **probe}, (*loc, "arguments", "probe"), check)
    if func == "flap":
        _check_times(arguments.get("times"), loc, check)
    if not action.breaks or loc[0] != "method":
        return
    if func == "partition":
        _check_partition(arguments, loc, check)
    names: set[str] = set()
    for argument in CHOOSING:
        if check.components is None or argument not in arguments:
            continue
        selection = check.components.selected(argument, arguments[argument])
        for message, fix in selection.problems:
            check.note_value(f"{func}: {message}", fix, *loc, "arguments", argument)
        names |= selection.names
        if selection.later:
            check.touched.unresolved.append(f"{check.document.at(*loc)} ({func})")
            if not selection.names:
                check.touched.everyone.append(check.document.at(*loc))
    check.touched.components |= names
    if func == "load_surge":
        _touch_users(arguments, loc, check)
    _check_mode(func, action, arguments, names, loc, check)


def _check_times(times: Any, loc: Loc, check: Check) -> None:
    if times is None:
        return
    if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= MOST_TURNS:
        at = (*loc, "arguments", "times")
        check.note_value(f"flap: times {times!r}", f"write a number from 1 to {MOST_TURNS}", *at)


def _check_seconds(func: str, arguments: Mapping[str, Any], loc: Loc, check: Check) -> None:
    for key, (least, most) in SECONDS.items():
        value = arguments.get(key)
        if value is None:
            continue
        try:
            seconds = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            seconds = math.nan
        at = (*loc, "arguments", key)
        if not least <= seconds <= most:
            what = f"{func} for {value!r}" if key == "seconds" else f"{func}: {key} {value!r}"
            check.note_value(what, f"write a number of seconds from {least:g} to {most:g}", *at)
        elif func == "hold":
            check.touched.held.append((seconds, check.written_at(at)))


def _check_partition(arguments: Mapping[str, Any], loc: Loc, check: Check) -> None:
    sets, shape = arguments.get("sets"), arguments.get("shape")
    at = (*loc, "arguments")
    if ("sets" in arguments) == ("shape" in arguments):
        check.note("a partition needs either sets or a shape", "write one of the two", *at)
    elif isinstance(sets, list):
        groups = [group if isinstance(group, list) else [] for group in sets]
        named = [str(name) for group in groups for name in group]
        if len(groups) < 2 or not all(groups) or len(named) != len(set(named)):
            fix = "write two or more lists of regions that share none"
            check.note_value(f"{sets!r} parts nothing", fix, *at, "sets")
    elif shape is not None and shape not in SHAPES:
        fix = nearest(str(shape), SHAPES)
        check.note_value(f"unknown partition shape {shape!r}", fix, *at, "shape")


def _check_mode(
    func: str, action: Action, arguments: Mapping[str, Any], names: set[str], loc: Loc, check: Check
) -> None:
    """That what is selected can be broken this way, and the mode takes these parameters."""
    if action.mode is not None:
        mode, at = action.mode, (*loc, "func")
    else:
        written = arguments.get("mode", action.otherwise)
        if written is None:
            return  # known only at run time
        mode, at = str(written), (*loc, "arguments", "mode")
    check.touched.broken |= {(name, mode) for name in names}
    models = _models(func, mode, names, at, check)
    wanted = action.parameters
    given = {
        key: value
        for key, value in arguments.items()
        if (key in wanted if wanted is not None else key not in OWN)
    }
    later = {key for key, value in given.items() if value is None}
    for model in models:
        try:
            model.model_validate(given)
        except ValidationError as error:
            for one in error.errors(include_url=False):
                key = one["loc"][0] if one["loc"] else None
                if key not in later and not (key is None and later):
                    step = () if key is None or one["type"] == "missing" else (key,)
                    fix = f"{mode} takes {', '.join(model.model_fields) or 'no parameters'}"
                    place = (*loc, "arguments", *step)
                    check.note_value(f"{func}: {misfit(model, one)}", fix, *place)
    _check_population(given.get("population"), loc, check)


def _touch_users(arguments: Mapping[str, Any], loc: Loc, check: Check) -> None:
    if arguments.get("population") is not None:
        check.touched.populations.add(str(arguments["population"]))
    else:
        check.touched.everyone.append(check.document.at(*loc))


def _check_population(name: Any, loc: Loc, check: Check) -> None:
    if name is None or check.components is None:
        return
    known = [one.name for one in check.components.target.populations]
    if name not in known:
        fix = nearest(str(name), known, what="populations")
        check.note_value(f"unknown population {name!r}", fix, *loc, "arguments", "population")


def _models(func: str, mode: str, names: set[str], at: Loc, check: Check) -> list[type[Parameters]]:
    """The models that the parameters will be held to: of each part that would be broken, where the
    target's parts are known; else of every backend that has the mode.
    """
    components = check.components
    if components is None or components.lab or func == "partition" or not names:
        if mode not in backends.known_modes():
            fix = nearest(mode, backends.known_modes(), what="modes")
            check.note_value(f"{func}: unknown mode {mode!r}", fix, *at)
        if components is not None and func == "partition":
            for link in links(components.target):
                check.touched.asked.setdefault(link.name, set()).add(mode)
        every = [backends.get(name).modes for name in backends.names()]
        return list({id(one[mode]): one[mode] for one in every if mode in one}.values())
    found: dict[int, type[Parameters]] = {}
    for name in sorted(names):
        component = next((one for one in components.known if one.name == name), None)
        if component is None or not component.backend:
            continue  # the target itself is misshapen, and that has been said
        try:
            for part in parts_of(components.target, component, mode):
                offered = backends.modes_of(part.component)
                if part.mode not in offered:
                    raise CannotBreak(
                        f"{part.component.name}: backend {part.component.backend!r} cannot "
                        f"{part.mode} (it can {', '.join(sorted(offered)) or 'nothing'})"
                    )
                found[id(offered[part.mode])] = offered[part.mode]
                check.touched.asked.setdefault(part.component.name, set()).add(part.mode)
        except CannotBreak as error:
            check.note_value(f"{func}: {error}", "choose another mode, or another component", *at)
    return list(found.values())


def check_strangers(data: Mapping[str, Any], actions: list[Loc], check: Check) -> None:
    """What actions that are not ours touch: as the experiment declares it in its extension, else
    nobody knows. `actions` are their places.
    """
    extensions = data.get("extensions")
    listed = extensions if isinstance(extensions, list) else []
    own = next((n for n, one in enumerate(listed) if _is_ours(one)), None)
    if own is None:
        check.touched.strangers += [check.document.at(*loc) for loc in actions]
        return
    at: Loc = ("extensions", own)
    for key in listed[own]:
        if key not in ("name", "touches"):
            fix = nearest(str(key), ["name", "touches"])
            check.note(f"unknown key {key!r} in extension stormgate", fix, *at, key)
    touches = listed[own].get("touches")
    if not isinstance(touches, list):
        fix = "list the components, or write [] where it touches none"
        check.note(f"touches: {touches!r} is no list of selections", fix, *at, "touches")
        return
    for index, one in enumerate(touches):
        if check.components is None:
            continue
        place = (*at, "touches", index)
        selection = check.components.selected("component", check.resolve(one, place))
        for message, fix in selection.problems:
            check.note_value(message, fix, *place)
        check.touched.components |= selection.names
        if selection.later and not selection.names:
            check.touched.everyone.append(check.document.at(*place))


def _is_ours(extension: Any) -> bool:
    return isinstance(extension, dict) and extension.get("name") == "stormgate"
