"""Language processor (paper §3.2): parses an instruction into a segmentation prompt and two captions."""

from instructedit.language.base import LanguageProcessor, Message, converse
from instructedit.language.local import LocalLanguage
from instructedit.language.parse import Parsed, ReplyError, parse_reply
from instructedit.language.prompt import PROMPT_HASH, messages
from instructedit.language.replies import cached
from instructedit.language.rules import RulesLanguage

__all__ = [
    "PROMPT_HASH",
    "LanguageProcessor",
    "LocalLanguage",
    "Message",
    "Parsed",
    "ReplyError",
    "RulesLanguage",
    "cached",
    "converse",
    "messages",
    "parse_reply",
]
