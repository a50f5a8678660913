"""The chats whose robots take a POST of JSON: what each reads, how long it may be, and how it says no.

WeCom, Feishu and DingTalk refuse with status 200 and a code that is not 0; apprise takes that for a success, which is
why they are here. Texts are cut by us: WeCom refuses a message that is longer than it reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from checks.sinks.base import Notice
from checks.sinks.message import addresses, cut, lines, text, title


class Robot(NamedTuple):
    """One chat's robot."""

    body: Callable[[Notice, Mapping[str, str]], Any]
    """Notice and links to the JSON it reads."""
    answer: Mapping[str, Any] = {}
    """What its answer holds where it has taken the message; {}: the status says all."""


def _unlinked(message: str) -> str:
    """Take the power out of `<at user_id="all">`, `<@all>` and the like: a reason comes from data."""
    return message.replace("<", "＜")


def _slack(notice: Notice, links: Mapping[str, str]) -> Any:
    # Slack cuts at 40,000 characters; it reads these three as HTML entities, and <!channel> as a call.
    message = text(notice, links, 30_000)
    return {"text": message.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def _wecom(notice: Notice, links: Mapping[str, str]) -> Any:
    # 4096 bytes of markdown; 2048 of text. `＜` is longer than `<`, so what is cut is cut after it.
    return {"msgtype": "markdown", "markdown": {"content": _cut_unlinked(notice, links, 4096, "\n")}}


def _feishu(notice: Notice, links: Mapping[str, str]) -> Any:
    # The whole request may have 20 KB; JSON writes a control or quotation mark in two bytes or more.
    return {"msg_type": "text", "content": {"text": _cut_unlinked(notice, links, 9_000, "\n")}}


def _dingtalk(notice: Notice, links: Mapping[str, str]) -> Any:
    # 20,000 bytes; in its markdown only an empty line ends a line.
    message = _cut_unlinked(notice, links, 18_000, "\n\n")
    return {"msgtype": "markdown", "markdown": {"title": _unlinked(title(notice)), "text": message}}


def _teams(notice: Notice, links: Mapping[str, str]) -> Any:
    # A workflow "when a webhook request is received" (the connectors of Office 365 have ended); 28 KB in all.
    blocks = [{"type": "TextBlock", "text": title(notice), "weight": "Bolder", "wrap": True}]
    blocks += [{"type": "TextBlock", "text": cut(one, 500), "wrap": True} for one in lines(notice, links)[:20]]
    actions = [
        {"type": "Action.OpenUrl", "title": name, "url": url} for name, url in addresses(notice.incident, links).items()
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
        "actions": [action for action in actions if action["url"].startswith(("https://", "http://"))][:5],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


def _cut_unlinked(notice: Notice, links: Mapping[str, str], limit_bytes: int, between: str) -> str:
    limit = limit_bytes
    while True:
        message = _unlinked(text(notice, links, limit, between=between))
        over = len(message.encode()) - limit_bytes
        if over <= 0:
            return message
        limit -= over


ROBOTS: dict[str, Robot] = {
    "slack": Robot(_slack),
    "wecom": Robot(_wecom, {"errcode": 0}),
    "feishu": Robot(_feishu, {"code": 0}),
    "dingtalk": Robot(_dingtalk, {"errcode": 0}),
    "teams": Robot(_teams),
}
"""By the `format` of a webhook."""


def refusal(body: bytes, expected: Mapping[str, Any]) -> str | None:
    """Return why a JSON answer is no success, or None where it holds all that is expected.

    Example:
        >>> refusal(b'{"errcode": 45009, "errmsg": "api freq out of limit"}', {"errcode": 0})
        'errcode is 45009, expected 0'
    """
    if not expected:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return "the answer is no JSON object"
    for name, value in expected.items():
        if name not in found or found[name] != value or isinstance(found[name], bool) is not isinstance(value, bool):
            return f"{name} is {found.get(name, 'missing')}, expected {value}"
    return None
