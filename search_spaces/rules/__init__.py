"""Rules over several choices: what they are, which rows keep them, and moves between such rows."""

from search_spaces.rules.rule import AnyRule as AnyRule
from search_spaces.rules.rule import Ascending as Ascending
from search_spaces.rules.rule import Forbid as Forbid
from search_spaces.rules.rule import Rule as Rule
from search_spaces.rules.rule import rule_of as rule_of
