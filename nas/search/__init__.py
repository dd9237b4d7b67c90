"""Search: many searchers, one evaluator, limits first, and a log that outlives a kill."""

from nas.search.engine import search as search
from nas.search.pool import Outcome as Outcome
from nas.search.pool import Pool as Pool
from nas.search.pool import SerialPool as SerialPool
from nas.search.problem import Problem as Problem
from nas.search.result import SearchResult as SearchResult
from nas.search.searchers import SEARCHERS as SEARCHERS
from nas.search.searchers.searcher import Searcher as Searcher
from results.records import Trial as Trial
